// The seam between "which bytes of a blob" and "where blobs are". Caching, retrying, limiting and tracing wrap it.

import { NaiadError } from '../base/errors.ts';

export interface ByteRange {
  readonly offset: number;
  readonly size: number;
}

/** Bytes of a stored blob as they arrive. */
export interface BlobStream {
  /** Of the first byte. Before the range that was asked for where the source gives whole blobs only; then what comes
   *  reaches to the blob's end. */
  readonly offset: number;
  /**
   * Each piece is the caller's, to read, until it has asked for a piece after one in other memory (another ArrayBuffer), or has left
   * the loop, which ends the transfer; its memory may be used again then. @throws as `open`
   */
  readonly pieces: AsyncIterable<Uint8Array>;
  /** Says that bytes of it were wrong. True when the next attempt goes elsewhere because of that; left out where all come from one
   *  place. */
  distrust?(): boolean;
  /** Of one that was asked for before it was opened: how long the answer took, and the bytes that are here already. */
  readonly early?: { readonly answerMs: number; readonly bytes: number };
}

/** How a range is wanted, for sources that can be asked in more than one way. */
export interface ReadHint {
  /** Nobody waits for it. */
  readonly background?: boolean;
  /** From where the blob comes from itself, past mirrors and caches: what they gave was wrong, or did not come. */
  readonly fromOrigin?: boolean;
}

export interface BlobReader {
  /** Says what this is, wrappers included: `retry(registry host/repo@sha256:…)`. */
  readonly name: string;
  /**
   * Exactly `range.size` bytes from `range.offset` of the stored blob; the caller owns the result.
   * @throws NaiadError when the bytes cannot be had; never fewer bytes.
   */
  readAt(range: ByteRange, signal?: AbortSignal): Promise<Uint8Array>;
  /**
   * One attempt at a range, for callers that try again by themselves and use bytes before all have come. Sources whose
   * reads do not take time have none.
   * @throws TransientFailure when another attempt may work; NaiadError when none will
   */
  open?(range: ByteRange, signal: AbortSignal, hint?: ReadHint): Promise<BlobStream>;
}

/** One that gives streams. */
export type StreamReader = BlobReader & Required<Pick<BlobReader, 'open'>>;

/** A range as a stream, of any reader. @throws as `BlobReader.open`; SIZE_MISMATCH */
export function openStream(
  reader: BlobReader,
  range: ByteRange,
  signal: AbortSignal,
  hint: ReadHint = {},
): Promise<BlobStream> {
  return reader.open ? reader.open(range, signal, hint) : readAsStream(reader, range, signal);
}

async function readAsStream(reader: BlobReader, range: ByteRange, signal: AbortSignal): Promise<BlobStream> {
  const bytes = await reader.readAt(range, signal);
  if (bytes.length !== range.size) {
    const what = `${bytes.length} bytes at ${range.offset}, expected ${range.size}`;
    throw new NaiadError('SIZE_MISMATCH', `${reader.name}: ${what}`);
  }
  return {
    offset: range.offset,
    pieces: (async function* () {
      yield bytes;
    })(),
  };
}
