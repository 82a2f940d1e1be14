// Memory for what comes and goes by the megabyte, used again and again: as garbage it would have V8 collect all the time, and the
// kernel zero every page of it anew.
import { KiB, MiB } from './units.ts';

/** The most in one piece. */
export const SLAB_SIZE_MAX = 1 * MiB;
const SLAB_SIZE_MIN = 64 * KiB;
/** Kept for the next. */
const KEPT_SIZE_MAX = 16 * MiB;
/** Unasked for so long, none is kept. */
const KEPT_MS = 2000;

const kept = new Map<number, ArrayBuffer[]>();
let keptSize = 0;
/** In use, and not given back yet: what is given back twice would belong to two. */
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

/** Takes back the memory of a slab, which nobody looks at any more; that of others, and what was given back before, is left alone. */
export function giveBack(memory: ArrayBufferLike): void {
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
