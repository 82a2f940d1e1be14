// What decides the bytes of a conversion, and what only decides how fast it goes.
import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { NaiadError } from '../base/errors.ts';
import { CHUNK_SIZE_MAX, CHUNK_SIZE_MIN } from '../base/limits.ts';
import { isPowerOfTwo, MiB } from '../base/units.ts';
import { version } from '../base/version.ts';
import { ZSTD_LEVEL_DEFAULT } from '../codec/codec.ts';
import type { BuildOptions } from './build-options.ts';
import type { CompressPoolOptions } from './compress-pool.ts';
import { POOL_SIZE } from './usage.ts';

/** @throws NaiadError USAGE */
export function checkBuildOptions(options: BuildOptions): void {
  const { chunkSize, level, compressor, jobs } = options;
  if (!isPowerOfTwo(chunkSize) || chunkSize < CHUNK_SIZE_MIN || chunkSize > CHUNK_SIZE_MAX) {
    throw new NaiadError('USAGE', `chunk size ${chunkSize} is not a power of two from 4KiB to 16MiB`);
  }
  if (level !== undefined && compressor !== 'zstd') {
    throw new NaiadError('USAGE', `--level is for zstd; ${compressor} has no levels`);
  }
  checkLevel(level);
  if (!(Number.isInteger(jobs) && jobs >= 1 && jobs <= JOBS_MAX)) {
    throw new NaiadError('USAGE', `${jobs} jobs: 1 to ${JOBS_MAX} layers can be converted at once`);
  }
}

/** Of zstd. @throws NaiadError USAGE */
export function checkLevel(level: number | undefined): void {
  if (level !== undefined && !(Number.isInteger(level) && level >= 1 && level <= 22)) {
    throw new NaiadError('USAGE', `level ${level} is not from 1 to 22`);
  }
}

const JOBS_MAX = 16;
/** Memory for chunks on their way. Where it makes few slots, layers and threads wait for one another, in turn. */
const SLOTS_SIZE = 32 * MiB;
const SLOT_SIZE_MIN = 1 * MiB;

/** How much is compressed at once, and memory for it, for `options`: small chunks share slots, large ones have one each. */
export function poolOptions(
  options: Pick<BuildOptions, 'compressor' | 'level' | 'chunkSize' | 'jobs' | 'workers'>,
): CompressPoolOptions {
  const workers = options.workers ?? Math.min(availableParallelism(), POOL_SIZE);
  const slotSize = Math.max(options.chunkSize, SLOT_SIZE_MIN);
  const ample = options.jobs + 2 * workers + 2;
  const slots = Math.min(ample, Math.floor(SLOTS_SIZE / slotSize));
  return { compressor: options.compressor, level: options.level, workers, slots, slotSize };
}

/** `1MiB`, `64KiB` or a number of bytes. @throws NaiadError USAGE */
export function parseChunkSize(text: string): number {
  const match = /^([0-9]{1,8})(?:(K|M)(?:i?B)?)?$/i.exec(text);
  if (!match) throw new NaiadError('USAGE', `chunk size "${text}" is no size`, { hint: 'for example 1MiB or 64KiB' });
  const unit = match[2]?.toUpperCase();
  return Number(match[1]) * (unit === 'M' ? 1024 * 1024 : unit === 'K' ? 1024 : 1);
}

/** Other versions may make other bytes of the same source. */
export const BUILDER = `naiad ${version()}`;

/** The options that decide the bytes of a conversion, as a manifest says them. */
export function fingerprint({ compressor, level, chunkSize, digester, prefetch }: BuildOptions): string {
  const how = compressor === 'zstd' ? `zstd:${level ?? ZSTD_LEVEL_DEFAULT}` : compressor;
  const words = [how, `chunks:${chunkSize}`, digester];
  if (prefetch.length > 0) {
    words.push(`prefetch:${createHash('sha256').update(JSON.stringify(prefetch)).digest('hex')}`);
  }
  return words.join(' ');
}
