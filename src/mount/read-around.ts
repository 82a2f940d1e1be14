// What a read that has to wait brings along: what lies close to it on the device, whatever file that belongs to. A layer keeps
// its files in the order of their paths, so that a program's next reads are near: others of the directory, more of the library.
// No reader is followed: what is present already says how far the device was read without a gap.
import type { ByteRange } from '../backend/blob-reader.ts';
import { FETCH_SIZE_MAX } from '../base/limits.ts';
import { KiB, MiB } from '../base/units.ts';
import type { ChunkCache } from '../cache/chunk-cache.ts';

/**
 * Behind a read and before it, uncompressed. On recorded starts of six applications, over links of 10 Mbit/s to 1 Gbit/s with
 * round trips of 1 to 100 ms, this was the fastest or near it; twice as much costs a slow link more than it saves.
 */
const BEHIND = 1 * MiB;
const BEFORE = 256 * KiB;
/** Of what is present before a read without a gap, half as much is fetched behind it: a file that is read through needs few trips. */
const RUN_SHARE = 0.5;

/** The range to fetch for a read of `range` that has to wait: its chunks, and those that are whole within what is close to them. */
export function rangeAround(cache: Pick<ChunkCache, 'device' | 'isPresent'>, range: ByteRange): ByteRange {
  const { chunks } = cache.device;
  const startOf = (index: number) => chunks.uncompressedOffset(index);
  const endOf = (index: number) => startOf(index) + chunks.uncompressedSize(index);
  const first = chunks.indexAt(range.offset) ?? 0;
  const last = chunks.indexAt(range.offset + range.size - 1) ?? first;

  let low = first;
  while (low > 0 && startOf(first) - startOf(low - 1) <= BEFORE) low--;

  let run = first;
  const runMax = FETCH_SIZE_MAX / RUN_SHARE;
  while (run > 0 && startOf(first) - startOf(run) < runMax && cache.isPresent(run - 1)) run--;

  const behind = Math.min(FETCH_SIZE_MAX, Math.max(BEHIND, RUN_SHARE * (startOf(first) - startOf(run))));
  let high = last;
  while (high + 1 < chunks.count && endOf(high + 1) - startOf(last + 1) <= behind) high++;
  return { offset: startOf(low), size: endOf(high) - startOf(low) };
}
