// Options of every command that mounts: where fetched data is kept, and how it is fetched.
import type { Argv } from 'yargs';
import { parseSizeMax } from '../cache/size-max.ts';
import type { FetchRequest } from '../mount/fetch-request.ts';

export function cacheFlags<T>(parser: Argv<T>) {
  return parser
    .option('cache', { type: 'string', requiresArg: true, describe: 'Cache directory' })
    .option('cache-size', { type: 'string', requiresArg: true, describe: 'Limit of the cache: 20GiB, none' });
}

export interface CacheFlags {
  readonly cache: string | undefined;
  readonly 'cache-size': string | undefined;
}

/** @throws NaiadError USAGE */
export function readCacheFlags(flags: CacheFlags): FetchRequest {
  const size = flags['cache-size'];
  return { cache: flags.cache, cacheSizeMax: size === undefined ? undefined : parseSizeMax(size) };
}
