// From chunks that are missing to the ranges of the stored blob to ask for. Pure.
import { FETCH_GAP_MAX, FETCH_SIZE_MAX } from '../base/limits.ts';
import type { ChunkTable } from '../image/chunk-table.ts';

/** A run of stored bytes that is decompressed as a whole: one chunk, or the chunks of a batch. */
export interface FetchUnit {
  readonly compressedOffset: number;
  readonly compressedSize: number;
  /** Bytes once decompressed. */
  readonly uncompressedSize: number;
  readonly compressed: boolean;
  /** Chunks to publish from it, ascending. */
  readonly chunks: readonly number[];
}

/** One ranged request. */
export interface Fetch {
  readonly offset: number;
  readonly size: number;
  /** In order of their offsets. */
  readonly units: readonly FetchUnit[];
}

/** The chunks that share a stored unit with `index`, itself included, ascending. */
export function chunksOfUnit(table: ChunkTable, index: number): number[] {
  if (!table.batch(index)) return [index];
  const offset = table.compressedOffset(index);
  const together = (other: number) => table.batch(other) !== undefined && table.compressedOffset(other) === offset;
  let first = index;
  while (first > 0 && together(first - 1)) first--;
  let last = index;
  while (last + 1 < table.count && together(last + 1)) last++;
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

/**
 * Plans requests for `chunks` (ascending). Neighbours join while a request stays within FETCH_SIZE_MAX and skips no more
 * than FETCH_GAP_MAX bytes; a single unit may be larger than that.
 */
export function planFetches(table: ChunkTable, chunks: readonly number[]): Fetch[] {
  const fetches: Fetch[] = [];
  let units: FetchUnit[] = [];
  let start = 0;
  let end = 0;
  const flush = () => {
    if (units.length > 0) fetches.push({ offset: start, size: end - start, units });
    units = [];
  };
  for (const unit of unitsOf(table, chunks)) {
    const unitEnd = unit.compressedOffset + unit.compressedSize;
    const joins = units.length > 0 && unit.compressedOffset - end <= FETCH_GAP_MAX && unitEnd - start <= FETCH_SIZE_MAX;
    if (!joins) {
      flush();
      start = unit.compressedOffset;
      end = start;
    }
    units.push(unit);
    end = Math.max(end, unitEnd);
  }
  flush();
  return fetches;
}

/** The stored units of `chunks`, ascending by offset. */
export function unitsOf(table: ChunkTable, chunks: readonly number[]): FetchUnit[] {
  const units = new Map<string, FetchUnit & { chunks: number[] }>();
  for (const index of chunks) {
    const batch = table.batch(index);
    const compressedOffset = table.compressedOffset(index);
    const compressedSize = table.compressedSize(index);
    const key = batch ? `batch ${compressedOffset}` : `chunk ${index}`;
    const known = units.get(key);
    if (known) known.chunks.push(index);
    else {
      const uncompressedSize = batch ? batch.uncompressedBatchSize : table.uncompressedSize(index);
      // A batch that did not shrink is stored raw although its chunks say "compressed".
      const compressed = batch ? compressedSize !== uncompressedSize : table.compressed(index);
      units.set(key, { compressedOffset, compressedSize, uncompressedSize, compressed, chunks: [index] });
    }
  }
  return [...units.values()].sort((a, b) => a.compressedOffset - b.compressedOffset);
}
