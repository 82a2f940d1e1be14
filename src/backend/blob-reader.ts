// The seam between "which bytes of a blob" and "where blobs are". Caching, retrying, limiting and tracing wrap it.

export interface ByteRange {
  readonly offset: number;
  readonly size: number;
}

export interface BlobReader {
  /** Says what this is, wrappers included: `retry(registry host/repo@sha256:…)`. */
  readonly name: string;
  /**
   * Exactly `range.size` bytes from `range.offset` of the stored blob; the caller owns the result.
   * @throws NaiadError when the bytes cannot be had; never fewer bytes.
   */
  readAt(range: ByteRange, signal?: AbortSignal): Promise<Uint8Array>;
}
