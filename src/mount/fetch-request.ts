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
  /** File with a trace: what it names is fetched first. Not with `prefetch: none`. */
  readonly prefetchTrace?: string | undefined;
  /** The trace beside the image to use where no file is given; `auto` when nothing is said, `none` for none. */
  readonly traceName?: string | undefined;
  /** Milliseconds a read waits for its bytes; FETCH_DEADLINE_MS when nothing is said. */
  readonly fetchDeadlineMs?: number | undefined;
}
