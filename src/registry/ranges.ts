// Ranged answers, believed only as far as they can be checked.
import type { ByteRange } from '../backend/blob-reader.ts';
import { NaiadError } from '../base/errors.ts';
import { TransientFailure } from '../base/transient.ts';
import { type HttpResponse, headerOf } from './exchange.ts';
import { SlabReader } from './slabs.ts';

export function rangeHeader(range: ByteRange): string {
  return `bytes=${range.offset}-${range.offset + range.size - 1}`;
}

/** In words, for errors. */
export function describeRange(range: ByteRange): string {
  return `bytes ${range.offset} to ${range.offset + range.size - 1}`;
}

/** @throws NaiadError SIZE_MISMATCH when a blob of `blobSize` bytes, where that is known, cannot have the range */
export function checkWithin(range: ByteRange, blobSize: number | undefined, what: string): void {
  if (blobSize === undefined || range.offset + range.size <= blobSize) return;
  throw new NaiadError('SIZE_MISMATCH', `${what}: ${describeRange(range)} wanted of ${blobSize}`);
}

/** What a 416 means. Its body is never read: distribution announces the blob's size there and sends a line of text. */
export function unsatisfied(response: HttpResponse, range: ByteRange, what: string): NaiadError {
  response.body.destroy();
  const total = /^bytes \*\/(\d{1,15})$/.exec(headerOf(response, 'content-range') ?? '')?.[1] ?? 'fewer';
  return new NaiadError('SIZE_MISMATCH', `${what}: ${describeRange(range)} wanted, the registry has ${total}`);
}

export interface ContentRange {
  readonly offset: number;
  readonly size: number;
  /** Of the whole; undefined for `*`. */
  readonly total: number | undefined;
}

/** `bytes 0-99/1234`, `bytes 0-99/*`; undefined for anything else, also for a range outside its total. */
export function parseContentRange(text: string | undefined): ContentRange | undefined {
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/i.exec(text?.trim() ?? '');
  if (!match) return undefined;
  const [offset, last] = [Number(match[1]), Number(match[2])];
  const total = match[3] === '*' ? undefined : Number(match[3]);
  if (last < offset || (total !== undefined && last >= total)) return undefined;
  return { offset, size: last - offset + 1, total };
}

/**
 * Checks that a 206 is the range that was asked for.
 * @throws NaiadError SIZE_MISMATCH when the blob is not of `blobSize` bytes; TransientFailure when it is another range
 */
export function checkContentRange(
  response: HttpResponse,
  range: ByteRange,
  blobSize: number | undefined,
  what: string,
): void {
  const header = headerOf(response, 'content-range');
  const got = parseContentRange(header);
  if (got?.total !== undefined && blobSize !== undefined && got.total !== blobSize) {
    throw new NaiadError(
      'SIZE_MISMATCH',
      `${what}: expected a blob of ${blobSize} bytes, the registry has ${got.total}`,
    );
  }
  if (got?.offset !== range.offset || got.size !== range.size) {
    const said = header === undefined ? 'none' : JSON.stringify(header.slice(0, 80));
    throw new TransientFailure(
      new NaiadError('REGISTRY_PROTOCOL', `${what}: asked for ${rangeHeader(range)}, Content-Range is ${said}`),
    );
  }
}

/**
 * Fills `target` from a body, after dropping the first `skip` bytes. What comes after is not read.
 * @throws TransientFailure when the body ends too early
 */
export async function fillFromBody(
  response: HttpResponse,
  target: Uint8Array,
  options: { readonly skip: number; readonly what: string; readonly onBytes: (count: number) => void },
): Promise<void> {
  const { skip, what, onBytes } = options;
  let dropped = 0;
  let filled = 0;
  const slabs = new SlabReader();
  try {
    for await (const piece of response.body) {
      slabs.next(piece);
      onBytes(piece.length);
      const rest = piece.subarray(Math.min(piece.length, skip - dropped));
      dropped += piece.length - rest.length;
      const taken = rest.subarray(0, target.length - filled);
      target.set(taken, filled);
      filled += taken.length;
      if (filled === target.length) return;
    }
  } finally {
    slabs.end(response.body);
  }
  throw new TransientFailure(
    new NaiadError('REGISTRY_PROTOCOL', `${what}: the answer ended after ${filled} of ${target.length} bytes`),
  );
}
