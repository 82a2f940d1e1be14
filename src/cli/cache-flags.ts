// Options of every command that mounts: where fetched data is kept, and how it is fetched.
import type { Argv } from 'yargs';
import { NaiadError } from '../base/errors.ts';
import { FETCH_DEADLINE_MS } from '../base/limits.ts';
import { parseDuration } from '../base/units.ts';
import { parseSizeMax } from '../cache/size-max.ts';
import { type FetchRequest, PREFETCH_MODES, type PrefetchMode } from '../mount/fetch-request.ts';

/** Timers know no longer time. */
const TIMER_MS_MAX = 2 ** 31 - 1;

export function cacheFlags<T>(parser: Argv<T>) {
  return parser
    .option('cache', { type: 'string', requiresArg: true, describe: 'Cache directory' })
    .option('cache-size', { type: 'string', requiresArg: true, describe: 'Limit of the cache: 20GiB, none' })
    .option('prefetch', {
      choices: PREFETCH_MODES,
      default: 'auto' as const,
      describe: 'Fetch before it is read: everything, nothing, or what is likely to be read',
    })
    .option('prefetch-trace', {
      type: 'string',
      requiresArg: true,
      describe: 'Fetch first what the trace or list of paths in FILE names',
    })
    .option('trace-name', {
      type: 'string',
      requiresArg: true,
      describe: 'Trace beside the image to fetch first; auto, none',
    })
    .option('fetch-deadline', {
      type: 'string',
      default: `${FETCH_DEADLINE_MS / 1000}s`,
      requiresArg: true,
      describe: 'How long a read waits for its bytes before it fails',
    });
}

export interface CacheFlags {
  readonly cache: string | undefined;
  readonly 'cache-size': string | undefined;
  readonly prefetch: PrefetchMode;
  readonly 'prefetch-trace': string | undefined;
  readonly 'trace-name': string | undefined;
  readonly 'fetch-deadline': string;
}

/** @throws NaiadError USAGE */
export function readCacheFlags(flags: CacheFlags): FetchRequest {
  const size = flags['cache-size'];
  const fetchDeadlineMs = parseDuration(flags['fetch-deadline']);
  if (fetchDeadlineMs === undefined || fetchDeadlineMs <= 0 || fetchDeadlineMs > TIMER_MS_MAX) {
    throw new NaiadError('USAGE', `${JSON.stringify(flags['fetch-deadline'])} is no duration`, { hint: 'Write 60s.' });
  }
  const cacheSizeMax = size === undefined ? undefined : parseSizeMax(size);
  const { cache, prefetch, 'prefetch-trace': prefetchTrace, 'trace-name': traceName } = flags;
  return { cache, cacheSizeMax, prefetch, prefetchTrace, traceName, fetchDeadlineMs };
}
