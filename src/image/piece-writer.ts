// A file that is written from its start to its end in pieces of bounded size, with random access to the part at hand.
import { assert } from '../base/assert.ts';
import { KiB } from '../base/units.ts';
import { viewOf } from '../format/record.ts';

/** Bytes of a piece, unless a single reservation is larger. */
const PIECE_SIZE = 256 * KiB;

export class PieceWriter {
  /** The piece at hand, zeros where nothing was written. */
  bytes = new Uint8Array(PIECE_SIZE);
  view = viewOf(this.bytes);
  /** Where the piece starts in the file, and where the last reservation ended. */
  #start = 0;
  #end = 0;

  /**
   * Room for `size` bytes at `position` of the file, at or behind the end of the last reservation: returns where it is in
   * `bytes` and `view`, until the next one. Yields the pieces that are finished.
   */
  *reserve(position: number, size: number): Generator<Uint8Array, number, void> {
    assert(position >= this.#end, 'a file is written from start to end');
    const end = position + size;
    if (end - this.#start > this.bytes.length) {
      yield this.rest();
      this.#start = this.#end;
      this.bytes = new Uint8Array(Math.max(PIECE_SIZE, end - this.#start));
      this.view = viewOf(this.bytes);
    }
    this.#end = end;
    return position - this.#start;
  }

  /** What was reserved and not yielded yet; the last piece, once all is written. */
  rest(): Uint8Array {
    return this.bytes.subarray(0, this.#end - this.#start);
  }
}
