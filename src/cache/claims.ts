// What an image says of the chunks of a blob, as sorted `cache.claim` records; and whether two images agree. Images that
// agree share one data file: whatever one writes is what the other would have written. Pure.
import { createHash } from 'node:crypto';
import { u53At, wordsOf } from '../base/bytes.ts';
import { CLAIM_BATCH_MAGIC, claim, claimBatch } from '../format/cache/chunk-map.ts';
import { DIGESTERS } from '../format/rafs/algorithms.ts';
import { viewOf, wordsIn } from '../format/record.ts';
import type { Device } from '../image/device.ts';

/** Claim records, ascending by chunk index. */
export type Claims = Uint8Array;

const WORD = wordsIn(claim);
const CLAIM_WORDS = claim.size / 4;
const DIGEST_WORDS = claim.fields.digest.size / 4;

/** The claims of a device: one per chunk that the image can verify. */
export function claimsOf(device: Device): Claims {
  const { chunks: table } = device;
  const digester = DIGESTERS[device.digester].id;
  const records = new Uint8Array(table.count * claim.size);
  const words = wordsOf(records);
  let end = 0;
  table.forEachVerifiable((index, offset, size, page, digestAt) => {
    words[end + WORD.chunkIndex] = index;
    words[end + WORD.uncompressedSize] = size;
    words[end + WORD.uncompressedOffset] = offset;
    words[end + WORD.uncompressedOffset + 1] = offset / 2 ** 32;
    words[end + WORD.digester] = digester;
    for (let i = 0; i < DIGEST_WORDS; i++) words[end + WORD.digest + i] = page[digestAt + i] as number;
    end += CLAIM_WORDS;
  });
  return records.slice(0, end * 4);
}

/**
 * `known` and `added` as one, and those of `added` that are new; undefined when they contradict each other: a chunk with
 * two contents or places, or two chunks in one place.
 */
export function mergeClaims(known: Claims, added: Claims): { merged: Claims; news: Claims } | undefined {
  if (known.length === 0) return areInOrder(added) ? { merged: added, news: added } : undefined;
  const merged = new Uint8Array(known.length + added.length);
  const news = new Uint8Array(added.length);
  const [knownView, addedView] = [viewOf(known), viewOf(added)];
  let [knownAt, addedAt, mergedEnd, newsEnd, deviceEnd, previous] = [0, 0, 0, 0, 0, -1];
  while (knownAt < known.length || addedAt < added.length) {
    const knownIndex = knownAt < known.length ? claim.fields.chunkIndex.read(knownView, knownAt) : Infinity;
    const addedIndex = addedAt < added.length ? claim.fields.chunkIndex.read(addedView, addedAt) : Infinity;
    const fromKnown = knownIndex <= addedIndex;
    const [view, at] = fromKnown ? [knownView, knownAt] : [addedView, addedAt];
    const row = (fromKnown ? known : added).subarray(at, at + claim.size);
    if (knownIndex === addedIndex) {
      if (Buffer.compare(row, added.subarray(addedAt, addedAt + claim.size)) !== 0) return undefined;
      addedAt += claim.size;
    } else if (!fromKnown) {
      news.set(row, newsEnd);
      newsEnd += claim.size;
      addedAt += claim.size;
    }
    if (fromKnown) knownAt += claim.size;
    const index = Math.min(knownIndex, addedIndex);
    const start = claim.fields.uncompressedOffset.read(view, at);
    if (index <= previous || start < deviceEnd) return undefined;
    previous = index;
    deviceEnd = start + claim.fields.uncompressedSize.read(view, at);
    merged.set(row, mergedEnd);
    mergedEnd += claim.size;
  }
  return { merged: merged.subarray(0, mergedEnd), news: news.subarray(0, newsEnd) };
}

/** True when the chunks are in the order of their indexes, and each starts behind the one before. */
function areInOrder(claims: Claims): boolean {
  const words = wordsOf(claims);
  let [previous, deviceEnd] = [-1, 0];
  for (let at = 0; at < words.length; at += CLAIM_WORDS) {
    const index = words[at + WORD.chunkIndex] as number;
    const start = u53At(words, at + WORD.uncompressedOffset);
    if (index <= previous || start < deviceEnd) return false;
    previous = index;
    deviceEnd = start + (words[at + WORD.uncompressedSize] as number);
  }
  return true;
}

/** A batch as it is appended to a map. */
export function encodeBatch(claims: Claims): Uint8Array {
  const batch = new Uint8Array(claimBatch.size + claims.length);
  const count = claims.length / claim.size;
  claimBatch.write(viewOf(batch), 0, { magic: CLAIM_BATCH_MAGIC, count, digest: digestOf(claims) });
  batch.set(claims, claimBatch.size);
  return batch;
}

/** The claims that count, out of all batches of a map; undefined when a batch is torn or still being written. */
export function replayBatches(bytes: Uint8Array): Claims | undefined {
  const view = viewOf(bytes);
  let claims: Claims = new Uint8Array(0);
  for (let at = 0; at < bytes.length; ) {
    if (at + claimBatch.size > bytes.length) return undefined;
    const { magic, count, digest } = claimBatch.read(view, at);
    const start = at + claimBatch.size;
    const end = start + count * claim.size;
    if (magic !== CLAIM_BATCH_MAGIC || end > bytes.length) return undefined;
    const batch = bytes.subarray(start, end);
    if (Buffer.compare(digestOf(batch), digest) !== 0) return undefined;
    claims = mergeClaims(claims, batch)?.merged ?? claims;
    at = end;
  }
  return claims;
}

function digestOf(claims: Claims): Uint8Array {
  return createHash('sha256').update(claims).digest();
}
