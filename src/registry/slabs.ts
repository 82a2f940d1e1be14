// Whose the memory of a body is while it is read piece by piece.
import { giveBack } from '../base/slabs.ts';
import type { ResponseBody } from './exchange.ts';

/** For one who reads a body piece by piece, and looks at none of them again once it has one that follows one in other memory. */
export class SlabReader {
  #before: ArrayBufferLike | undefined;
  #memory: ArrayBufferLike | undefined;

  /** Before each piece is read. */
  next(piece: Uint8Array): void {
    // Not at the first piece in other memory: a reader that joins pieces copies what it has when that comes.
    if (this.#before) giveBack(this.#before);
    this.#before = undefined;
    if (this.#memory !== piece.buffer) {
      this.#before = this.#memory;
      this.#memory = piece.buffer;
    }
  }

  /** The reader has all that it wants. Into the memory of a body that is not over, more is still read. */
  end(body: ResponseBody): void {
    if (this.#before) giveBack(this.#before);
    if (this.#memory && body.isOver) giveBack(this.#memory);
    this.#before = undefined;
    this.#memory = undefined;
  }
}
