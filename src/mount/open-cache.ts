// The cache directory of a mount, made ready for use.
import { prepareCacheDir } from '../cache/cache-dir.ts';
import { sizeMaxFromEnvironment } from '../cache/size-max.ts';
import { CacheSpace } from '../cache/space.ts';
import { cachePaths } from '../store/paths.ts';

/**
 * Checks the directory and keeps it within its limits until disposed of: `sizeMax` bytes, else what NAIAD_CACHE_SIZE
 * says, else a share of the file system.
 * @throws NaiadError CACHE_INVALID, USAGE, PERMISSION, NO_SPACE, IO
 */
export async function openCacheSpace(cache: string, sizeMax?: number): Promise<CacheSpace> {
  const paths = cachePaths(cache);
  prepareCacheDir(paths);
  return await CacheSpace.open(paths, { sizeMax: sizeMax ?? sizeMaxFromEnvironment() });
}
