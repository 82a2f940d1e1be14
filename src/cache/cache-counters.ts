// What caches tell of themselves.

/** What a cache did since it was opened. Several caches may share one. */
export interface CacheCounters {
  /** Chunks that a reader had to wait for, for whatever reason. */
  misses: number;
  /** Chunks fetched and published, and their uncompressed bytes. */
  fetchedChunks: number;
  fetchedChunkBytes: number;
  /** Chunks of an earlier boot that still had their digest. */
  reverifiedChunks: number;
  /** Chunks that arrived wrong, each time they did; and how often one was left alone because of that. */
  badChunks: number;
  quarantines: number;
}

export function newCacheCounters(): CacheCounters {
  return { misses: 0, fetchedChunks: 0, fetchedChunkBytes: 0, reverifiedChunks: 0, badChunks: 0, quarantines: 0 };
}
