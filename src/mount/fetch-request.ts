// Where a mount keeps what it fetches, and how it fetches.
export interface FetchRequest {
  /** Cache directory; undefined for the user's own. */
  readonly cache?: string | undefined;
  /** Bytes; undefined for NAIAD_CACHE_SIZE, or a share of the file system. */
  readonly cacheSizeMax?: number | undefined;
}
