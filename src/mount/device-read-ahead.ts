// Sees that a device is read on where it was read before, and says how far ahead to fetch. The kernel does not say which file
// it reads: what follows on the device follows in the file, but many files are read at a time.
import { FETCH_SIZE_MAX } from '../base/limits.ts';

/** Places followed at once; the one longest without a miss is forgotten. */
const STREAMS_MAX = 32;
/** The kernel's reads may come in any order within this span. */
const REORDER_SPAN = 512 * 1024;

interface Stream {
  /** End of the furthest read that had to wait. */
  end: number;
  window: number;
}

export class DeviceReadAhead {
  readonly #chunkSize: number;
  /** The one last used is last. */
  readonly #streams: Stream[] = [];

  constructor(chunkSize: number) {
    this.#chunkSize = chunkSize;
  }

  /**
   * Called for each read that had to wait. Returns how many bytes behind its end to fetch as well: none at a new place, then
   * twice as many each time the reads go on where the fetched part ended.
   */
  afterMiss(offset: number, size: number): number {
    const at = this.#streams.findIndex((stream) => follows(stream, offset, this.#chunkSize));
    const [stream] = at < 0 ? [] : this.#streams.splice(at, 1);
    const next = stream
      ? {
          end: Math.max(offset + size, stream.end),
          window: Math.min(FETCH_SIZE_MAX, Math.max(this.#chunkSize, stream.window * 2)),
        }
      : { end: offset + size, window: 0 };
    this.#streams.push(next);
    if (this.#streams.length > STREAMS_MAX) this.#streams.shift();
    return next.window;
  }
}

function follows({ end, window }: Stream, offset: number, chunkSize: number): boolean {
  return offset + REORDER_SPAN >= end && offset <= end + window + chunkSize + REORDER_SPAN;
}
