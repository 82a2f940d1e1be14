// What a cache directory holds, as `naiad cache ls` shows it.

import type { CachePaths } from '../cache/cache-dir.ts';
import { prepareCacheDir } from '../cache/cache-dir.ts';
import { freeBytes, spaceLimits } from '../cache/evict.ts';
import { type CacheItem, isInUse, listItems } from '../cache/inventory.ts';
import { MapInspection } from '../cache/map-inspection.ts';
import { type Pin, readPins } from '../cache/pins.ts';
import { sizeMaxFromEnvironment } from '../cache/size-max.ts';

export interface ListedItem extends Pick<CacheItem, 'kind' | 'name' | 'id' | 'bytes' | 'lastUse' | 'pinned'> {
  readonly inUse: boolean;
  /** Of a blob that can be read. */
  readonly chunks?: { readonly ready: number; readonly total: number };
  /** Of one that cannot: it is started anew when it is next opened. */
  readonly problem?: string;
}

export interface CacheListing {
  readonly directory: string;
  readonly items: readonly ListedItem[];
  /** On disk. */
  readonly bytes: number;
  readonly sizeMax: number;
  readonly freeBytes: number;
  readonly pins: readonly Pin[];
}

/** @throws NaiadError CACHE_INVALID, PERMISSION, IO */
export async function listCache(paths: CachePaths): Promise<CacheListing> {
  prepareCacheDir(paths);
  const items = (await listItems(paths)).map(listed);
  const { sizeMax } = await spaceLimits(paths, sizeMaxFromEnvironment());
  const bytes = items.reduce((sum, item) => sum + item.bytes, 0);
  return { directory: paths.root, items, bytes, sizeMax, freeBytes: await freeBytes(paths), pins: readPins(paths) };
}

function listed(item: CacheItem): ListedItem {
  const { kind, name, id, bytes, lastUse, pinned } = item;
  const common = { kind, name, id, bytes, lastUse, pinned, inUse: isInUse(item) };
  if (kind !== 'blob') return common;
  const map = MapInspection.open(item.paths[0] as string);
  if (!(map instanceof MapInspection)) return { ...common, problem: map.problem };
  using opened = map;
  return { ...common, chunks: { ready: opened.readyChunks, total: opened.header.chunkCount } };
}
