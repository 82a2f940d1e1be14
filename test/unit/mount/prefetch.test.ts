// Orders and failures of a prefetch over real cache files; readers here fail on demand.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BlobReader } from '../../../src/backend/blob-reader.ts';
import { NaiadError } from '../../../src/base/errors.ts';
import { FETCH_GAP_MAX, FETCH_HOT_IN_FLIGHT_MAX } from '../../../src/base/limits.ts';
import { ChunkCache } from '../../../src/cache/chunk-cache.ts';
import { Prefetch } from '../../../src/mount/prefetch.ts';
import { blobCacheFiles } from '../../../src/store/paths.ts';
import { type HandMadeBlob, makeBlob, memoryReader, patterned, slow } from '../../support/blobs.ts';
import { temporaryDir } from '../../support/temporary.ts';

const COUNT = 10;
const CHUNKS = Array.from({ length: COUNT }, (_, i) => patterned(4096, i + 1));
/** Each chunk needs a request of its own. */
const apart = () => makeBlob(CHUNKS, { gap: FETCH_GAP_MAX + 1 });
const refs = (...chunks: number[]) => chunks.map((chunk) => ({ device: 0, chunk }));

function openCache(directory: string, { device }: HandMadeBlob, reader: BlobReader): Promise<ChunkCache> {
  const filesOf = (blobId: string, variant?: string) => blobCacheFiles(directory, blobId, variant);
  return ChunkCache.open({ device, reader, filesOf });
}

const present = (cache: ChunkCache) =>
  CHUNKS.flatMap((_, index) => (cache.isReady({ offset: index * 4096, size: 4096 }) ? [index] : []));

test('prefetch: chunks are asked for in the order given, neighbours at once, what is there or nowhere not at all', async () => {
  using directory = temporaryDir('prefetch');
  const blob = apart();
  const reader = memoryReader(blob.stored);
  await using cache = await openCache(directory.path, blob, reader);
  await cache.ensure({ offset: 3 * 4096, size: 1 });
  await using prefetch = new Prefetch([cache], [...refs(7, 3, 1, COUNT, -1), { device: 1, chunk: 0 }], {
    priority: 'hot',
  });
  await prefetch.done;
  const all = { chunks: 3, bytes: 3 * 4096, chunksTotal: 3, bytesTotal: 3 * 4096 };
  assert.deepEqual(prefetch.progress, { state: 'done', why: undefined, wrongChunks: 0, ...all });
  assert.deepEqual(present(cache), [1, 3, 7]);
  const placeOf = (chunk: number) => blob.device.chunks.compressedOffset(chunk);
  assert.deepEqual(
    reader.reads.map(({ offset }) => offset),
    [3, 7, 1].map(placeOf),
  );
  assert.equal(cache.counters.misses, 1);

  const near = makeBlob(CHUNKS);
  const nearReader = memoryReader(near.stored);
  await using nearCache = await openCache(directory.path, near, nearReader);
  await new Prefetch([nearCache], refs(...CHUNKS.keys()), { priority: 'background' }).done;
  assert.equal(nearReader.reads.length, 1);
});

test('prefetch: a registry that is down is waited for; a chunk that is wrong is left to its reader', async () => {
  using directory = temporaryDir('prefetch');
  const blob = apart();
  const good = memoryReader(blob.stored);
  let isDown = true;
  const bad = blob.device.chunks.compressedOffset(4);
  const reader: BlobReader = {
    name: 'moody',
    async readAt(range) {
      if (isDown) throw new NaiadError('REGISTRY_UNAVAILABLE', 'down');
      const bytes = await good.readAt(range);
      return range.offset === bad ? bytes.map((byte) => byte ^ 1) : bytes;
    },
  };
  await using cache = await openCache(directory.path, blob, reader);
  await using prefetch = new Prefetch([cache], refs(...CHUNKS.keys()), { priority: 'background', retryMs: 10 });
  while (prefetch.progress.state === 'running') await sleep(5);
  assert.deepEqual([prefetch.progress.state, prefetch.progress.why], ['waiting', 'down']);
  isDown = false;
  await prefetch.done;
  const { state, chunks, wrongChunks } = prefetch.progress;
  assert.deepEqual({ state, chunks, wrongChunks }, { state: 'done', chunks: COUNT, wrongChunks: 1 });
  assert.deepEqual(present(cache), [0, 1, 2, 3, 5, 6, 7, 8, 9]);
});

test('prefetch: stopped, nothing more is asked for, but for what a reader wants by now', async () => {
  using directory = temporaryDir('prefetch');
  const blob = apart();
  const reader = memoryReader(blob.stored);
  await using cache = await openCache(directory.path, blob, slow(reader, 100));
  const prefetch = new Prefetch([cache], refs(...CHUNKS.keys()), { priority: 'hot' });
  await sleep(20);
  const reading = cache.ensure({ offset: 9 * 4096, size: 1 });
  await prefetch[Symbol.asyncDispose]();
  await reading;
  assert.deepEqual([prefetch.progress.state, prefetch.progress.why], ['stopped', 'the prefetch was stopped']);
  assert.ok(reader.reads.length <= FETCH_HOT_IN_FLIGHT_MAX + 1, String(reader.reads.length));
  assert.ok(present(cache).includes(9));
});
