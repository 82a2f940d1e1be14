// The table of chunk starts that a keeper gets of a device.
import { KEEPER_ABSENT_CHUNK } from '../format/keeper/records.ts';

/** A range of a device, cut at its end. */
export interface WatchedRange {
  readonly offset: number;
  readonly size: number;
}

/** False when the range touches a chunk of which nothing is known, or lies before the first. */
export function knowsRange(starts: BigUint64Array, { offset, size }: WatchedRange): boolean {
  let index = chunkAt(starts, offset);
  if (index < 0) return false;
  const end = BigInt(offset + size);
  for (; index < starts.length && startOf(starts, index) < end; index++) {
    if ((starts[index] as bigint) & KEEPER_ABSENT_CHUNK) return false;
  }
  return true;
}

/** The chunk that holds `offset`; -1 before the first. */
function chunkAt(starts: BigUint64Array, offset: number): number {
  let low = 0;
  let high = starts.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (startOf(starts, middle) > BigInt(offset)) high = middle;
    else low = middle + 1;
  }
  return low - 1;
}

function startOf(starts: BigUint64Array, index: number): bigint {
  return (starts[index] as bigint) & ~KEEPER_ABSENT_CHUNK;
}
