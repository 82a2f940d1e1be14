// Sees that a file is read from front to back and says how far ahead to fetch, so that a long read costs bandwidth and
// not one round trip a chunk. Start-up reads are short and scattered: nothing is fetched ahead for them.
import { FETCH_SIZE_MAX } from '../base/limits.ts';

/** Files followed at once; the one longest without a miss is forgotten. */
const STREAMS_MAX = 64;
/** The kernel reads ahead by itself, and its reads may come in any order within this span. */
const REORDER_SPAN = 512 * 1024;

interface Stream {
  /** End of the furthest read that had to wait. */
  end: number;
  window: number;
}

export class ReadAhead {
  readonly #chunkSize: number;
  readonly #streams = new Map<number, Stream>();

  constructor(chunkSize: number) {
    this.#chunkSize = chunkSize;
  }

  /**
   * Called for each read that had to wait. Returns how many bytes behind its end to fetch as well: none for the first,
   * then twice as many each time the file goes on where the fetched part ended.
   */
  afterMiss(nid: number, offset: number, size: number): number {
    const stream = this.#streams.get(nid);
    this.#streams.delete(nid);
    const end = offset + size;
    const reached = stream ? stream.end + stream.window : 0;
    const follows = stream && offset + REORDER_SPAN >= stream.end && offset <= reached + this.#chunkSize + REORDER_SPAN;
    const window = follows ? Math.min(FETCH_SIZE_MAX, Math.max(this.#chunkSize, stream.window * 2)) : 0;
    this.#streams.set(nid, { end: follows ? Math.max(end, stream.end) : end, window });
    if (this.#streams.size > STREAMS_MAX) {
      const [oldest] = this.#streams.keys();
      if (oldest !== undefined) this.#streams.delete(oldest);
    }
    return window;
  }
}
