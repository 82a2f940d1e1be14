// Sees that a device is read on where it was read before, and says how far ahead to fetch. The kernel does not say which file
// it reads: what follows on the device follows in the file, but many files are read at a time. Small files that lie behind one
// another come along: a program that starts reads many of a directory, and each would be a round trip.
import type { ByteRange } from '../backend/blob-reader.ts';
import { FETCH_SIZE_MAX } from '../base/limits.ts';
import { KiB } from '../base/units.ts';

/** Places followed at once; the one longest without a miss is forgotten. */
const STREAMS_MAX = 32;
/** The kernel reads ahead with requests of this size at most, a few at a time, which may come in any order. */
const REORDER_SPAN_MAX = 512 * KiB;
/** By so many times its own size a read may be out of order: one of a single page that is near another is no stream. */
const REORDER_READS = 2;

interface Stream {
  /** End of the furthest read that had to wait. */
  end: number;
  window: number;
  /** Of the largest read. */
  size: number;
}

export class DeviceReadAhead {
  readonly #chunkSize: number;
  /** The one last used is last. */
  readonly #streams: Stream[] = [];

  constructor(chunkSize: number) {
    this.#chunkSize = chunkSize;
  }

  /**
   * Called for each read that had to wait. Returns how many bytes behind its end to fetch as well: none at a new place, or
   * where several readers want the same; then twice as many each time the reads go on where the fetched part ended.
   */
  afterMiss(offset: number, size: number): number {
    const at = this.#streams.findIndex((stream) => follows(stream, { offset, size }, this.#chunkSize));
    const [stream] = at < 0 ? [] : this.#streams.splice(at, 1);
    if (stream && offset + size <= stream.end) {
      this.#streams.push(stream);
      return 0;
    }
    const next = stream
      ? {
          end: offset + size,
          window: Math.min(FETCH_SIZE_MAX, Math.max(this.#chunkSize, size, stream.window * 2)),
          size: Math.max(size, stream.size),
        }
      : { end: offset + size, window: 0, size };
    this.#streams.push(next);
    if (this.#streams.length > STREAMS_MAX) this.#streams.shift();
    return next.window;
  }
}

function follows(stream: Stream, { offset, size }: ByteRange, chunkSize: number): boolean {
  const span = Math.min(REORDER_SPAN_MAX, REORDER_READS * Math.max(size, stream.size));
  // The chunk that the last read ended in was fetched to its end, so the next miss may be behind that.
  return offset + span >= stream.end && offset <= stream.end + stream.window + chunkSize + span;
}
