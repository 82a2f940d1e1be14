// Memory that bodies are read into, used again and again: as garbage, what a registry sends would have V8 collect all the time.
import { KiB, MiB } from '../base/units.ts';
import type { ResponseBody } from './exchange.ts';

/** Of a body, in one piece of memory. */
export const SLAB_SIZE_MAX = 1 * MiB;
const SLAB_SIZE_MIN = 64 * KiB;
/** Kept for the next body. */
const KEPT_SIZE_MAX = 16 * MiB;
/** Without a body for so long none is kept. */
const KEPT_MS = 2000;

const kept = new Map<number, ArrayBuffer[]>();
let keptSize = 0;
/** In use, and not given back yet: what is given back twice would belong to two bodies. */
const lent = new WeakSet<ArrayBufferLike>();
let wasUsed = false;
let isTimed = false;

/** Memory for `size` bytes, or SLAB_SIZE_MAX if that is less. What is in it is left over from others: write before it is read. */
export function takeSlab(size: number): Buffer {
  const wanted = Math.min(size, SLAB_SIZE_MAX);
  let whole = SLAB_SIZE_MIN;
  while (whole < wanted) whole *= 2;
  wasUsed = true;
  const again = kept.get(whole)?.pop();
  if (again) keptSize -= whole;
  const memory = again ?? (Buffer.allocUnsafeSlow(whole).buffer as ArrayBuffer);
  lent.add(memory);
  return Buffer.from(memory, 0, wanted);
}

function giveBack(memory: ArrayBufferLike): void {
  const size = memory.byteLength;
  if (!lent.delete(memory) || keptSize + size > KEPT_SIZE_MAX) return;
  const others = kept.get(size) ?? [];
  others.push(memory as ArrayBuffer);
  kept.set(size, others);
  keptSize += size;
  if (!isTimed) letGoLater();
}

function letGoLater(): void {
  isTimed = true;
  wasUsed = false;
  setTimeout(() => {
    isTimed = false;
    if (wasUsed) {
      letGoLater();
      return;
    }
    kept.clear();
    keptSize = 0;
  }, KEPT_MS).unref();
}

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
