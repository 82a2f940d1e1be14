// Where a mount keeps what it fetches, and how it fetches.

/** What is fetched before it is read. `auto`: what the image lists, and everything once most of it was read. */
export const PREFETCH_MODES = ['auto', 'all', 'none'] as const;
export type PrefetchMode = (typeof PREFETCH_MODES)[number];

export interface FetchRequest {
  /** Cache directory; undefined for the user's own. */
  readonly cache?: string | undefined;
  /** Bytes; undefined for NAIAD_CACHE_SIZE, or a share of the file system. */
  readonly cacheSizeMax?: number | undefined;
  /** `auto` when nothing is said. */
  readonly prefetch?: PrefetchMode | undefined;
  /** Milliseconds a read waits for its bytes; FETCH_DEADLINE_MS when nothing is said. */
  readonly fetchDeadlineMs?: number | undefined;
}
