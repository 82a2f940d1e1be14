import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { hasCode } from '../../../src/base/errors.ts';
import { lockCache, prepareCacheDir } from '../../../src/cache/cache-dir.ts';
import { ChunkCache } from '../../../src/cache/chunk-cache.ts';
import { evict } from '../../../src/cache/evict.ts';
import { listItems } from '../../../src/cache/inventory.ts';
import { readPins, removePin, writePin } from '../../../src/cache/pins.ts';
import { parseSizeMax } from '../../../src/cache/size-max.ts';
import { CacheSpace } from '../../../src/cache/space.ts';
import { mount, umount } from '../../../src/native/mount.ts';
import { blobCacheFiles, cachePaths } from '../../../src/store/paths.ts';
import { type HandMadeBlob, makeBlob, memoryReader, patterned } from '../../support/blobs.ts';
import { addon, every, root } from '../../support/requires.ts';
import { temporaryDir } from '../../support/temporary.ts';

const MINUTE_MS = 60_000;

function blobOf(seed: number, chunks = 4): HandMadeBlob {
  return makeBlob(
    Array.from({ length: chunks }, (_, index) => patterned(64 * 1024, seed * 100 + index)),
    { compressor: 'none' },
  );
}

async function openCache(directory: string, blob: HandMadeBlob, space?: CacheSpace): Promise<ChunkCache> {
  const filesOf = (blobId: string, variant?: string) => blobCacheFiles(directory, blobId, variant);
  return await ChunkCache.open({ device: blob.device, reader: memoryReader(blob.stored), filesOf, space });
}

async function fill(cache: ChunkCache): Promise<void> {
  await cache.ensure({ offset: 0, size: cache.device.size });
}

/** Caches of `count` blobs, all filled; the first one was used longest ago. */
async function filledCaches(directory: string, count: number): Promise<HandMadeBlob[]> {
  const blobs = Array.from({ length: count }, (_, index) => blobOf(index));
  for (const [index, blob] of blobs.entries()) {
    {
      await using cache = await openCache(directory, blob);
      await fill(cache);
    }
    const used = new Date(Date.now() - (count - index) * MINUTE_MS);
    utimesSync(blobCacheFiles(directory, blob.device.blobId).map, used, used);
  }
  return blobs;
}

function cachedBlobs(directory: string): string[] {
  return readdirSync(join(directory, 'blobs')).filter((name) => name.endsWith('.data'));
}

test('evict: the least recently used goes first, and no more than needed', { ...addon() }, async () => {
  using directory = temporaryDir('evict');
  const paths = cachePaths(directory.path);
  const blobs = await filledCaches(directory.path, 3);
  const items = await listItems(paths);
  assert.deepEqual(
    items.map(({ name }) => name),
    blobs.map(({ device }) => device.blobId),
  );
  const sizeMax = items.slice(1).reduce((sum, { bytes }) => sum + bytes, 0);
  assert.equal((await evict(paths, { sizeMax, dryRun: true })).removed.length, 1);
  const report = await evict(paths, { sizeMax });
  assert.deepEqual(
    report.removed.map(({ name }) => name),
    [blobs[0]?.device.blobId],
  );
  assert.equal(report.bytes, sizeMax);
  assert.deepEqual(readdirSync(paths.blobs).length, 4);
  assert.equal((await evict(paths, { sizeMax })).removed.length, 0);
});

test('evict: never what is open or pinned, in whichever process; an evicted blob is fetched again', {
  ...addon(),
}, async () => {
  using directory = temporaryDir('evict');
  const paths = cachePaths(directory.path);
  const [oldest, pinned, last] = (await filledCaches(directory.path, 3)) as [HandMadeBlob, HandMadeBlob, HandMadeBlob];
  const pin = { name: 'image:1', blobs: [pinned.device.blobId], metadata: [], since: new Date(0).toISOString() };
  writePin(paths, pin);
  assert.deepEqual(readPins(paths), [pin]);
  {
    await using open = await openCache(directory.path, oldest);
    const report = await evict(paths, { sizeMax: 0 });
    assert.deepEqual(
      report.removed.map(({ name }) => name),
      [last.device.blobId],
    );
    assert.deepEqual(
      report.inUse.map(({ name }) => name),
      [oldest.device.blobId],
    );
    assert.ok(open.isReady({ offset: 0, size: open.device.size }));
  }
  assert.equal(removePin(paths, 'image:1'), true);
  assert.equal(removePin(paths, 'image:1'), false);
  assert.equal((await evict(paths, { sizeMax: 0 })).removed.length, 2);
  assert.deepEqual(readdirSync(paths.blobs), []);
  await using again = await openCache(directory.path, oldest);
  assert.equal(again.isReady({ offset: 0, size: 1 }), false);
  await fill(again);
});

test('evict: opening and evicting at once ends with a cache that works', { ...addon() }, async () => {
  using directory = temporaryDir('evict');
  const paths = cachePaths(directory.path);
  const blob = blobOf(1, 1);
  let evicted = 0;
  for (let round = 0; round < 100; round++) {
    const openLater = async () => {
      for (let turn = 0; turn < round % 10; turn++) await new Promise((resolve) => setImmediate(resolve));
      return await openCache(directory.path, blob);
    };
    const [cache, report] = await Promise.all([openLater(), evict(paths, { sizeMax: 0 })]);
    evicted += report.removed.length;
    await fill(cache);
    // Whatever the order was, what is open has its name, so that the next one finds it.
    assert.deepEqual(cachedBlobs(directory.path), [`${blob.device.blobId}.data`]);
    await cache[Symbol.asyncDispose]();
  }
  assert.ok(evicted > 0, 'some rounds evicted');
});

test('evict: metadata and what was not used for long go too; foreign files stay', { ...addon() }, async () => {
  using directory = temporaryDir('evict');
  const paths = cachePaths(directory.path);
  mkdirSync(paths.metadata, { recursive: true });
  mkdirSync(paths.blobs, { recursive: true });
  const foreign = [join(paths.blobs, 'sha256'), join(paths.metadata, 'notes'), join(paths.blobs, 'x.data')];
  for (const path of foreign) writeFileSync(path, 'mine');
  const [old, fresh] = ['a'.repeat(64), 'b'.repeat(64)].map((name) => join(paths.metadata, name)) as [string, string];
  for (const path of [old, fresh]) writeFileSync(path, 'metadata');
  const long = new Date(Date.now() - 100 * MINUTE_MS);
  utimesSync(old, long, long);
  const report = await evict(paths, { unusedSince: new Date(Date.now() - 50 * MINUTE_MS) });
  assert.deepEqual(
    report.removed.map(({ name }) => name),
    ['a'.repeat(64)],
  );
  await evict(paths, { sizeMax: 0 });
  assert.deepEqual(await listItems(paths), []);
  for (const path of foreign) assert.equal(readFileSync(path, 'utf8'), 'mine');
});

test('evict: data without a map is removed once its creator cannot be at it any more', { ...addon() }, async () => {
  using directory = temporaryDir('evict');
  const paths = cachePaths(directory.path);
  mkdirSync(paths.blobs, { recursive: true });
  const path = join(paths.blobs, `${'c'.repeat(64)}.data`);
  writeFileSync(path, 'orphan');
  assert.equal((await evict(paths, { sizeMax: 0 })).removed.length, 0);
  const old = new Date(Date.now() - 2 * MINUTE_MS);
  utimesSync(path, old, old);
  assert.equal((await evict(paths, { sizeMax: 0 })).removed.length, 1);
});

test('cache directory: layout, tag and lock', { ...addon() }, () => {
  using directory = temporaryDir('cache-dir');
  const paths = cachePaths(join(directory.path, 'cache'));
  prepareCacheDir(paths);
  prepareCacheDir(paths);
  assert.match(readFileSync(paths.tag, 'utf8'), /^Signature: 8a477f597d28d172789f06886806bc55\n/);
  {
    using _owned = lockCache(paths);
    assert.throws(() => lockCache(paths), { code: 'CACHE_LOCKED', message: new RegExp(`process ${process.pid} owns`) });
  }
  lockCache(paths)[Symbol.dispose]();
  for (const [layout, says] of [
    ['naiad cache 2\n', /of layout 2/],
    ['something else', /of something else/],
    ['', /of something else/],
  ] as const) {
    writeFileSync(paths.layout, layout);
    assert.throws(() => prepareCacheDir(paths), { code: 'CACHE_INVALID', message: says });
  }
});

for (const [text, bytes] of [
  ['4096', 4096],
  ['1.5 kB', 1500],
  ['20GiB', 20 * 2 ** 30],
  ['1TB', 1e12],
  ['none', Number.MAX_SAFE_INTEGER],
] as const) {
  test(`cache size: ${text}`, () => assert.equal(parseSizeMax(text), bytes));
}
for (const text of ['', '-1', 'GiB', '1 PB', '1e9', 'all']) {
  test(`cache size: refuses ${JSON.stringify(text)}`, () => assert.throws(() => parseSizeMax(text), { code: 'USAGE' }));
}

test('disk full: unused blobs go; with none left the reader is told, and goes on once there is room', {
  ...every(root(), addon()),
}, async () => {
  using directory = temporaryDir('full');
  const place = join(directory.path, 'disk');
  mkdirSync(place);
  await mount({ source: 'tmpfs', target: place, type: 'tmpfs', options: 'size=1m' });
  try {
    const paths = cachePaths(place);
    prepareCacheDir(paths);
    await using space = await CacheSpace.open(paths, { sizeMax: Number.MAX_SAFE_INTEGER });
    {
      await using unused = await openCache(place, blobOf(1, 10), space);
      await fill(unused);
    }
    await using first = await openCache(place, blobOf(2, 8), space);
    await fill(first); // More than was left: the unused blob had to go.
    assert.ok(space.counters.fullWrites > 0);
    assert.equal(space.counters.evictedItems, 1);
    const ballast = join(place, 'ballast');
    const second = blobOf(3, 8);
    await using cache = await openCache(place, second, space);
    await assert.rejects(fill(cache), (error) => hasCode(error, 'NO_SPACE'));
    const present = cache.coverage();
    assert.ok(present.chunks > 0 && present.chunks < present.chunksTotal);
    assert.ok(first.isReady({ offset: 0, size: first.device.size }));
    await mount({ source: 'tmpfs', target: place, type: 'tmpfs', flags: 32, options: 'size=4m' });
    writeFileSync(ballast, 'there is room again');
    await fill(cache);
    const bytes = Buffer.alloc(second.flat.length);
    cache.readReady(bytes, 0);
    assert.ok(bytes.equals(second.flat));
  } finally {
    await umount(place, 2);
  }
});
