// Making room: the least recently used go first, whole, and never what is in use or pinned.
import { closeSync, fstatSync, rmSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { hasCode } from '../base/errors.ts';
import {
  CACHE_FREE_HIGH_MAX,
  CACHE_FREE_HIGH_SHARE,
  CACHE_FREE_LOW_MAX,
  CACHE_FREE_LOW_SHARE,
  CACHE_SIZE_SHARE_DEFAULT,
} from '../base/limits.ts';
import { systemError } from '../base/system-error.ts';
import { tryLock } from '../native/lock.ts';
import type { CachePaths } from './cache-dir.ts';
import { type CacheItem, listItems, openToLock } from './inventory.ts';

/** Bytes. */
export interface SpaceLimits {
  /** What all items together may take. */
  readonly sizeMax: number;
  /** Below so many free bytes of the file system, items go until `freeHigh` are free. */
  readonly freeLow: number;
  readonly freeHigh: number;
}

export interface EvictGoal {
  /** Items go until all of these hold. */
  readonly sizeMax?: number;
  readonly freeMin?: number;
  readonly freedMin?: number;
  /** Items that were used last before this go in any case. */
  readonly unusedSince?: Date;
  /** Nothing is removed, only counted. */
  readonly dryRun?: boolean;
}

export interface EvictReport {
  readonly removed: readonly CacheItem[];
  readonly freedBytes: number;
  /** Items that would have gone, and are in use. */
  readonly inUse: readonly CacheItem[];
  /** What all items take now. */
  readonly bytes: number;
}

/** The limits of a cache directory that exists; a `sizeMax` that is not given is a share of its file system. */
export async function spaceLimits(paths: CachePaths, sizeMax?: number): Promise<SpaceLimits> {
  const { bsize, blocks } = await fileSystemOf(paths);
  const total = bsize * blocks;
  return {
    sizeMax: sizeMax ?? Math.floor(total * CACHE_SIZE_SHARE_DEFAULT),
    freeLow: Math.min(CACHE_FREE_LOW_MAX, Math.floor(total * CACHE_FREE_LOW_SHARE)),
    freeHigh: Math.min(CACHE_FREE_HIGH_MAX, Math.floor(total * CACHE_FREE_HIGH_SHARE)),
  };
}

/** Bytes of the file system that the cache's owner may still use. */
export async function freeBytes(paths: CachePaths): Promise<number> {
  const { bsize, bavail } = await fileSystemOf(paths);
  return bsize * bavail;
}

async function fileSystemOf(paths: CachePaths) {
  try {
    return await statfs(paths.root);
  } catch (error) {
    throw systemError(error, paths.root);
  }
}

/** Removes items, the least recently used first, until the goal is reached or nothing more may go. */
export async function evict(paths: CachePaths, goal: EvictGoal): Promise<EvictReport> {
  const items = await listItems(paths);
  const removed: CacheItem[] = [];
  const inUse: CacheItem[] = [];
  let bytes = items.reduce((sum, item) => sum + item.bytes, 0);
  let freed = 0;
  const { sizeMax = Number.POSITIVE_INFINITY, freeMin = 0, freedMin = 0, unusedSince, dryRun = false } = goal;
  const free = freeMin > 0 ? await freeBytes(paths) : 0;
  for (const item of items) {
    const old = unusedSince !== undefined && item.lastUse < unusedSince;
    const reached = bytes <= sizeMax && (freeMin === 0 || free + freed >= freeMin) && freed >= freedMin;
    if ((reached && !old) || item.pinned) continue;
    const outcome = removeItem(item, dryRun);
    if (outcome === 'in-use') inUse.push(item);
    if (outcome !== 'removed') continue;
    removed.push(item);
    bytes -= item.bytes;
    freed += item.bytes;
  }
  return { removed, freedBytes: freed, inUse, bytes };
}

/** Data whose map is missing is being created by somebody, or was left behind: after this time, the latter. */
const ORPHAN_AGE_MIN_MS = 60_000;

/**
 * Removes an item that nobody uses. Whoever opens it holds a shared lock and then makes sure that the file still has its
 * name; so once we hold the exclusive one, an opener either was before us, and we are refused, or comes after us and
 * finds nothing. The map goes first: data without a map is never believed.
 */
function removeItem(item: CacheItem, dryRun = false): 'removed' | 'in-use' | 'gone' {
  if (item.lockPath === undefined) {
    if (Date.now() - item.lastUse.getTime() < ORPHAN_AGE_MIN_MS) return 'in-use';
    if (!dryRun) removeFiles(item);
    return 'removed';
  }
  let fd: number | undefined;
  try {
    fd = openToLock(item.lockPath);
    if (fd === undefined) return 'gone';
    // Without locks nobody can tell who uses it.
    if (tryLock(fd, 'exclusive') !== 'locked') return 'in-use';
    if (fstatSync(fd).nlink === 0) return 'gone';
    if (!dryRun) removeFiles(item);
    return 'removed';
  } catch (error) {
    if (hasCode(error, 'PERMISSION')) return 'in-use';
    throw error;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

function removeFiles(item: CacheItem): void {
  for (const path of item.paths) {
    try {
      rmSync(path, { force: true });
    } catch (error) {
      throw systemError(error, path);
    }
  }
}
