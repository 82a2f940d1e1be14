// What lies in a cache directory: whole blobs (data and map together), files of metadata, and bootstraps as they are mounted. Other names are not ours and
// are never touched.
import { closeSync, constants, openSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { systemError } from '../base/system-error.ts';
import { tryLock } from '../native/lock.ts';
import type { CachePaths } from './cache-dir.ts';
import { readPins } from './pins.ts';

export interface CacheItem {
  readonly kind: 'blob' | 'metadata' | 'bootstrap';
  /** Blob id, with its variant; or the hex digest of the file. */
  readonly name: string;
  /** Without the variant. */
  readonly id: string;
  /** In the order in which they must be removed. */
  readonly paths: readonly string[];
  /** What is locked while the item is in use: a map, or the file itself. Undefined for data without its map. */
  readonly lockPath: string | undefined;
  /** On disk; sparse parts take none. */
  readonly bytes: number;
  readonly lastUse: Date;
  readonly pinned: boolean;
}

const BLOB_NAME = /^(([0-9a-f]{64})(?:-[0-9a-f]{32})?)\.(data|map)$/;
const METADATA_NAME = /^[0-9a-f]{64}$/;
const SECTOR_SIZE = 512;

/** Everything in the cache, least recently used first. @throws NaiadError PERMISSION, IO */
export async function listItems(paths: CachePaths): Promise<CacheItem[]> {
  const pins = readPins(paths);
  const pinned = {
    blob: new Set(pins.flatMap((pin) => pin.blobs)),
    metadata: new Set(pins.flatMap((pin) => pin.metadata)),
  };
  const names = new Set((await namesIn(paths.blobs)).map((name) => BLOB_NAME.exec(name)?.[1] ?? ''));
  names.delete('');
  const items: (CacheItem | undefined)[] = [];
  for (const name of names) {
    const id = name.slice(0, 64);
    const map = join(paths.blobs, `${name}.map`);
    const files = [map, join(paths.blobs, `${name}.data`)];
    items.push(await itemOf({ kind: 'blob', name, id, paths: files, lockPath: map, pinned: pinned.blob.has(id) }));
  }
  for (const name of (await namesIn(paths.metadata)).filter((one) => METADATA_NAME.test(one))) {
    const path = join(paths.metadata, name);
    const isPinned = pinned.metadata.has(name);
    items.push(await itemOf({ kind: 'metadata', name, id: name, paths: [path], lockPath: path, pinned: isPinned }));
  }
  for (const name of (await namesIn(paths.bootstraps)).filter((one) => METADATA_NAME.test(one))) {
    const path = join(paths.bootstraps, name);
    items.push(
      await itemOf({
        kind: 'bootstrap',
        name,
        id: name,
        paths: [path],
        lockPath: path,
        pinned: pinned.metadata.has(name),
      }),
    );
  }
  return items.filter((item) => item !== undefined).sort((a, b) => a.lastUse.getTime() - b.lastUse.getTime());
}

async function itemOf(part: Omit<CacheItem, 'bytes' | 'lastUse'>): Promise<CacheItem | undefined> {
  const found = await Promise.all(part.paths.map((path) => stat(path).catch(() => undefined)));
  const first = found.find((one) => one !== undefined);
  if (!first) return undefined; // Removed since.
  const bytes = found.reduce((sum, one) => sum + (one?.blocks ?? 0) * SECTOR_SIZE, 0);
  return { ...part, lockPath: found[0] ? part.lockPath : undefined, bytes, lastUse: first.mtime };
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw systemError(error, directory);
  }
}

/** True while some process has the item open. */
export function isInUse(item: CacheItem): boolean {
  const fd = item.lockPath === undefined ? undefined : openToLock(item.lockPath);
  if (fd === undefined) return false;
  try {
    return tryLock(fd, 'exclusive') === 'busy';
  } finally {
    closeSync(fd);
  }
}

/** Undefined when the file is gone. The caller closes it. */
export function openToLock(path: string): number | undefined {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw systemError(error, path);
  }
}
