import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  closeSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BlobReader } from '../../../src/backend/blob-reader.ts';
import { NaiadError } from '../../../src/base/errors.ts';
import { FETCH_GAP_MAX, QUARANTINE_MIN_MS } from '../../../src/base/limits.ts';
import { ChunkCache } from '../../../src/cache/chunk-cache.ts';
import { blobCacheFiles } from '../../../src/store/paths.ts';
import { faulty, type HandMadeBlob, makeBlob, memoryReader, patterned, slow } from '../../support/blobs.ts';
import { temporaryDir } from '../../support/temporary.ts';

const BOOT_1 = '11111111-1111-1111-1111-111111111111';
const BOOT_2 = '22222222-2222-2222-2222-222222222222';

function openCache(directory: string, blob: HandMadeBlob, reader: BlobReader, bootId = BOOT_1): Promise<ChunkCache> {
  const filesOf = (blobId: string, variant?: string) => blobCacheFiles(directory, blobId, variant);
  return ChunkCache.open({ device: blob.device, reader, filesOf, bootId });
}

async function read(cache: ChunkCache, offset: number, size: number): Promise<Buffer> {
  await cache.ensure({ offset, size });
  const buffer = Buffer.alloc(size);
  cache.readReady(buffer, offset);
  return buffer;
}

const CHUNKS = [patterned(8192, 1), patterned(5000, 2), patterned(8192, 3), patterned(1, 4), patterned(8192, 5)];

for (const compressor of ['zstd', 'lz4', 'gzip', 'none'] as const) {
  for (const digester of ['blake3', 'sha256'] as const) {
    test(`cache: ${compressor} with ${digester} gives the device's bytes, and fetches each chunk once`, async () => {
      using directory = temporaryDir('cache');
      const blob = makeBlob(CHUNKS, { compressor, digester });
      const reader = memoryReader(blob.stored);
      await using cache = await openCache(directory.path, blob, reader);
      assert.deepEqual(await read(cache, 8192 + 100, 200), blob.flat.subarray(8192 + 100, 8192 + 300));
      assert.deepEqual(await read(cache, 0, 8192 + 5000), blob.flat.subarray(0, 8192 + 5000));
      assert.deepEqual(await read(cache, 8192, 5000), blob.flat.subarray(8192, 8192 + 5000));
      assert.equal(reader.reads.length, 2);
      assert.equal(cache.counters.fetchedChunks, 2);
      assert.deepEqual(cache.coverage(), { chunks: 2, bytes: 13_192, chunksTotal: 5, bytesTotal: 29_577 });
      assert.equal(statSync(cache.files.data).size, blob.device.size);
    });
  }
}

test('cache: many readers of one chunk cause one fetch', async () => {
  using directory = temporaryDir('cache');
  const blob = makeBlob(CHUNKS);
  const reader = memoryReader(blob.stored);
  await using cache = await openCache(directory.path, blob, slow(reader, 20));
  await Promise.all(Array.from({ length: 50 }, (_, i) => cache.ensure({ offset: i, size: 8192 - i })));
  assert.equal(reader.reads.length, 1);
  await cache.ensure({ offset: 0, size: 8192 });
  assert.equal(reader.reads.length, 1);
});

test('cache: neighbours come in one request, far ones in two, what is there is left out', async () => {
  using directory = temporaryDir('cache');
  const near = makeBlob([patterned(4096, 1), patterned(4096, 2), patterned(4096, 3)], { gap: FETCH_GAP_MAX });
  const nearReader = memoryReader(near.stored);
  await using nearCache = await openCache(directory.path, near, nearReader);
  await nearCache.ensure({ offset: 0, size: 3 * 4096 });
  assert.equal(nearReader.reads.length, 1);

  const far = makeBlob([patterned(4096, 1), patterned(4096, 2), patterned(4096, 3)], { gap: FETCH_GAP_MAX + 1 });
  const farReader = memoryReader(far.stored);
  await using farCache = await openCache(directory.path, far, farReader);
  await farCache.ensure({ offset: 4096, size: 4096 });
  await farCache.ensure({ offset: 0, size: 3 * 4096 });
  assert.equal(farReader.reads.length, 3);
});

test('cache: a batch is fetched once and publishes all its chunks', async () => {
  using directory = temporaryDir('cache');
  const batch = [patterned(100, 1), patterned(5000, 2), patterned(7, 3)];
  for (const compressor of ['zstd', 'lz4'] as const) {
    const blob = makeBlob([patterned(4096, 9), batch, patterned(4096, 8)], { compressor });
    const reader = memoryReader(blob.stored);
    await using cache = await openCache(directory.path, blob, reader);
    assert.deepEqual(await read(cache, 8192, 5000), blob.flat.subarray(8192, 8192 + 5000));
    assert.ok(cache.isReady({ offset: 4096, size: 100 }));
    assert.deepEqual(await read(cache, 8192 + 8192, 7), blob.flat.subarray(16384, 16391));
    assert.equal(reader.reads.length, 1);
    assert.equal(cache.counters.badChunks, 0);
  }
});

test('cache: the map as native readers see it: starts, and bits at their offset', async () => {
  using directory = temporaryDir('cache');
  const blob = makeBlob(CHUNKS, { absent: (index) => index === 2 });
  await using cache = await openCache(directory.path, blob, memoryReader(blob.stored));
  assert.deepEqual([...cache.starts()], [0n, 8192n, 16384n, 24576n, 28672n]);
  // A kernel asks for whole blocks: padding behind chunk 1, chunk 2 that nobody knows, one block of chunk 3.
  await cache.ensureAround({ offset: 8192 + 4096, size: 4096 + 8192 + 4096 });
  const bits = Buffer.alloc(1);
  readSync(cache.mapFd, bits, 0, 1, cache.readyBitsOffset);
  assert.equal(bits[0], 0b01010);
  await cache.ensureAround({ offset: 0, size: blob.device.size });
  readSync(cache.mapFd, bits, 0, 1, cache.readyBitsOffset);
  assert.equal(bits[0], 0b11011);
});

test('cache: padding and places without a chunk are refused', async () => {
  using directory = temporaryDir('cache');
  const blob = makeBlob(CHUNKS, { absent: (index) => index === 2 });
  await using cache = await openCache(directory.path, blob, memoryReader(blob.stored));
  for (const [offset, size] of [
    [8192 + 5000, 1],
    [8192, 5001],
    [16384, 1],
    [16384 + 8192 - 1, 2],
    [blob.device.size, 1],
  ] as const) {
    await assert.rejects(cache.ensure({ offset, size }), { code: 'BLOB_INVALID' }, `${offset}+${size}`);
  }
});

const FAULTS: { name: string; fault: (bytes: Uint8Array, read: number) => Uint8Array; code?: string; reads: number }[] =
  [
    { name: 'one bit flipped once', fault: (bytes, read) => (read === 0 ? flipped(bytes) : bytes), reads: 2 },
    { name: 'one bit flipped always', fault: flipped, code: 'CHUNK_DIGEST_MISMATCH', reads: 2 },
    { name: 'short once', fault: (bytes, read) => bytes.subarray(read === 0 ? 1 : 0), code: 'SIZE_MISMATCH', reads: 1 },
    {
      name: 'another chunk, always',
      fault: (bytes) => patterned(bytes.length, 7),
      code: 'CHUNK_DIGEST_MISMATCH',
      reads: 2,
    },
    {
      name: 'a failing backend',
      fault: () => {
        throw new NaiadError('REGISTRY_UNAVAILABLE', 'gone');
      },
      code: 'REGISTRY_UNAVAILABLE',
      reads: 1,
    },
  ];

function flipped(bytes: Uint8Array): Uint8Array {
  const changed = Uint8Array.from(bytes);
  changed[10] = (changed[10] as number) ^ 4;
  return changed;
}

for (const { name, fault, code, reads } of FAULTS) {
  test(`cache: ${name}: nothing wrong is published, and the failure is not remembered`, async () => {
    using directory = temporaryDir('cache');
    const blob = makeBlob(CHUNKS, { compressor: 'none' });
    const inner = memoryReader(blob.stored);
    let broken = true;
    const bad = faulty(inner, fault);
    const reader: BlobReader = {
      name: 'switch',
      readAt: (range, signal) => (broken ? bad : inner).readAt(range, signal),
    };
    let nowMs = 0;
    await using cache = await ChunkCache.open({
      device: blob.device,
      reader,
      filesOf: (blobId, variant) => blobCacheFiles(directory.path, blobId, variant),
      clock: () => nowMs,
    });
    if (code) {
      await assert.rejects(cache.ensure({ offset: 0, size: 8192 }), { code });
      assert.equal(cache.isReady({ offset: 0, size: 1 }), false);
      if (code === 'CHUNK_DIGEST_MISMATCH') {
        await assert.rejects(cache.ensure({ offset: 0, size: 8192 }), { code });
        assert.equal(inner.reads.length, reads, 'bytes that keep coming wrong are not asked for in a hot loop');
        assert.equal(cache.counters.quarantines, 1);
        nowMs += QUARANTINE_MIN_MS;
      }
    } else await cache.ensure({ offset: 0, size: 8192 });
    assert.equal(inner.reads.length, reads);
    broken = false;
    assert.deepEqual(await read(cache, 0, 8192), blob.flat.subarray(0, 8192));
  });
}

test('cache: of a coalesced request only the bad chunk fails, and it alone is fetched again', async () => {
  using directory = temporaryDir('cache');
  const blob = makeBlob(CHUNKS, { compressor: 'none' });
  blob.stored[8192 + 3] = (blob.stored[8192 + 3] as number) ^ 1;
  const reader = memoryReader(blob.stored);
  await using cache = await openCache(directory.path, blob, reader);
  await assert.rejects(cache.ensure({ offset: 4096, size: 8192 }), { code: 'CHUNK_DIGEST_MISMATCH' });
  assert.deepEqual(reader.reads, [
    { offset: 0, size: 8192 + 5000 },
    { offset: 8192, size: 5000 },
  ]);
  assert.ok(cache.isReady({ offset: 0, size: 8192 }));
});

test('cache: large chunks come as small ones do, and are told of as small ones are where they do not decompress', async () => {
  using directory = temporaryDir('cache');
  const blob = makeBlob([patterned(300_000, 1), patterned(1_500_000, 2), patterned(300_000, 3)]);
  const stored = Buffer.from(blob.stored);
  stored.fill(0, blob.device.chunks.compressedOffset(2));
  await using cache = await openCache(directory.path, blob, memoryReader(stored));
  assert.deepEqual(await read(cache, 0, 300_000), blob.flat.subarray(0, 300_000));
  const at = blob.device.chunks.uncompressedOffset(2);
  await assert.rejects(cache.ensure({ offset: at, size: 1 }), {
    code: 'CHUNK_INVALID',
    message: `zstd data of ${blob.device.chunks.compressedSize(2)} bytes does not decompress to 300000 bytes`,
  });
  assert.equal(cache.isReady({ offset: at, size: 1 }), false);
});

test('cache: data that does not decompress is CHUNK_INVALID', async () => {
  using directory = temporaryDir('cache');
  const blob = makeBlob([Buffer.alloc(9000, 'naiad')]);
  await using cache = await openCache(
    directory.path,
    blob,
    faulty(memoryReader(blob.stored), (bytes) => bytes.fill(0)),
  );
  await assert.rejects(cache.ensure({ offset: 0, size: 1 }), { code: 'CHUNK_INVALID' });
});

test('cache: an aborted reader stops waiting; the load goes on for the others', async () => {
  using directory = temporaryDir('cache');
  const blob = makeBlob(CHUNKS);
  const reader = memoryReader(blob.stored);
  await using cache = await openCache(directory.path, blob, slow(reader, 50));
  const abort = new AbortController();
  const leaving = cache.ensure({ offset: 0, size: 1 }, { signal: abort.signal });
  const staying = cache.ensure({ offset: 0, size: 1 });
  abort.abort();
  await assert.rejects(leaving, { code: 'CANCELED' });
  await staying;
  assert.equal(reader.reads.length, 1);
});

test('cache: closing ends waiting readers', async () => {
  using directory = temporaryDir('cache');
  const blob = makeBlob(CHUNKS);
  const cache = await openCache(directory.path, blob, slow(memoryReader(blob.stored), 60_000));
  const waiting = assert.rejects(cache.ensure({ offset: 0, size: 1 }), { code: 'CANCELED' });
  await cache[Symbol.asyncDispose]();
  await waiting;
});

test('cache: what is there is there after opening again', async () => {
  using directory = temporaryDir('cache');
  const blob = makeBlob(CHUNKS);
  {
    await using cache = await openCache(directory.path, blob, memoryReader(blob.stored));
    await cache.ensure({ offset: 0, size: 8192 });
  }
  const reader = memoryReader(blob.stored);
  await using cache = await openCache(directory.path, blob, reader);
  assert.deepEqual(await read(cache, 0, 8192), blob.flat.subarray(0, 8192));
  assert.equal(reader.reads.length, 0);
});

test('cache: bytes written before a crash but without their bit are not believed', async () => {
  using directory = temporaryDir('cache');
  const blob = makeBlob(CHUNKS);
  await (await openCache(directory.path, blob, memoryReader(blob.stored)))[Symbol.asyncDispose]();
  writeInto(blobCacheFiles(directory.path, blob.device.blobId).data, Buffer.alloc(8192, 'torn'), 0);
  const reader = memoryReader(blob.stored);
  await using cache = await openCache(directory.path, blob, reader);
  assert.deepEqual(await read(cache, 0, 8192), blob.flat.subarray(0, 8192));
  assert.equal(reader.reads.length, 1);
});

test('cache: after a reboot, cleanly closed chunks are trusted and others verified when first used', async () => {
  using directory = temporaryDir('cache');
  const blob = makeBlob(CHUNKS);
  const { data, map } = blobCacheFiles(directory.path, blob.device.blobId);
  {
    await using cache = await openCache(directory.path, blob, memoryReader(blob.stored));
    await cache.ensure({ offset: 0, size: 8192 });
  }
  const crashed = await openCache(directory.path, blob, memoryReader(blob.stored));
  for (const offset of [8192, 16384]) await crashed.ensure({ offset, size: 1 });
  const atCrash = readFileSync(map);
  await crashed[Symbol.asyncDispose]();
  writeFileSync(map, atCrash); // As if the machine had died: nothing was recorded as durable.
  writeInto(data, Buffer.alloc(4096), 16384); // And a page never reached the disk.

  const reader = memoryReader(blob.stored);
  {
    await using cache = await openCache(directory.path, blob, reader, BOOT_2);
    assert.ok(cache.isReady({ offset: 0, size: 8192 }));
    assert.equal(cache.isReady({ offset: 8192, size: 1 }), false);
    assert.deepEqual(await read(cache, 8192, 5000), blob.flat.subarray(8192, 8192 + 5000));
    assert.equal(reader.reads.length, 0);
    assert.equal(cache.counters.reverifiedChunks, 1);
    assert.deepEqual(await read(cache, 16384, 8192), blob.flat.subarray(16384, 16384 + 8192));
    assert.equal(reader.reads.length, 1);
  }
  await using again = await openCache(directory.path, blob, reader, BOOT_2);
  assert.ok(again.isReady({ offset: 0, size: 8192 + 5000 }));
});

test('cache: where the boot id is unknown nothing is trusted unseen', async () => {
  using directory = temporaryDir('cache');
  const blob = makeBlob(CHUNKS);
  const reader = memoryReader(blob.stored);
  const first = await openCache(directory.path, blob, reader, '');
  await first.ensure({ offset: 0, size: 1 });
  await using cache = await openCache(directory.path, blob, reader, '');
  assert.equal(cache.isReady({ offset: 0, size: 1 }), false);
  await cache.ensure({ offset: 0, size: 1 });
  assert.equal(reader.reads.length, 1);
  await first[Symbol.asyncDispose]();
});

const UNTRUSTED: { name: string; change: (files: { data: string; map: string }) => void }[] = [
  { name: 'a map of another version', change: ({ map }) => writeInto(map, Buffer.from([2]), 8) },
  { name: 'a map with another magic', change: ({ map }) => writeInto(map, Buffer.from('x'), 0) },
  { name: 'a map cut short', change: ({ map }) => truncateSync(map, 4097) },
  { name: 'an empty map', change: ({ map }) => truncateSync(map, 0) },
  { name: 'a map with a torn batch of claims', change: ({ map }) => truncateSync(map, statSync(map).size - 1) },
  { name: 'a map with garbage behind it', change: ({ map }) => appendFileSync(map, 'garbage') },
  { name: 'no map', change: ({ map }) => rmSync(map) },
  { name: 'no data file', change: ({ data }) => rmSync(data) },
  {
    name: 'another data file of the same size',
    change: ({ data }) => {
      const { size } = statSync(data);
      rmSync(data);
      writeFileSync(data, Buffer.alloc(size));
    },
  },
  { name: 'a data file of another size', change: ({ data }) => truncateSync(data, 4096) },
];
for (const { name, change } of UNTRUSTED) {
  test(`cache: ${name} is started anew`, async () => {
    using directory = temporaryDir('cache');
    const blob = makeBlob(CHUNKS);
    {
      await using cache = await openCache(directory.path, blob, memoryReader(blob.stored));
      await cache.ensure({ offset: 0, size: 8192 });
    }
    change(blobCacheFiles(directory.path, blob.device.blobId));
    const reader = memoryReader(blob.stored);
    await using cache = await openCache(directory.path, blob, reader);
    assert.equal(cache.isReady({ offset: 0, size: 1 }), false);
    assert.deepEqual(await read(cache, 0, 8192), blob.flat.subarray(0, 8192));
    assert.equal(reader.reads.length, 1);
  });
}

test('cache: images that use different chunks of a blob share what both know', async () => {
  using directory = temporaryDir('cache');
  const first = makeBlob(CHUNKS, { absent: (index) => index < 2 });
  const second = makeBlob(CHUNKS, { absent: (index) => index > 2 });
  await using a = await openCache(directory.path, first, memoryReader(first.stored));
  await using b = await openCache(directory.path, second, memoryReader(second.stored));
  assert.equal(a.files.data, b.files.data);
  await a.ensure({ offset: 16384, size: 8192 });
  await b.ensure({ offset: 16384, size: 8192 });
  assert.equal(b.counters.fetchedChunks, 0);
  const whole = makeBlob(CHUNKS);
  await using c = await openCache(directory.path, whole, memoryReader(whole.stored));
  assert.equal(c.files.data, a.files.data);
});

test('cache: an image that lies about the chunks of a blob cannot touch what others read', async () => {
  using directory = temporaryDir('cache');
  const honest = makeBlob(CHUNKS, { absent: (index) => index === 0 });
  const evil = makeBlob([patterned(8192, 66), ...CHUNKS.slice(1)]);
  const lies: { name: string; blob: HandMadeBlob }[] = [
    { name: 'another digest', blob: { ...evil, device: { ...evil.device, blobId: honest.device.blobId } } },
    {
      name: 'a chunk over others',
      blob: (() => {
        const wide = makeBlob([patterned(30_000, 67)]);
        return { ...wide, device: { ...wide.device, blobId: honest.device.blobId, size: honest.device.size } };
      })(),
    },
  ];
  await using liar = await openCache(directory.path, lies[0]?.blob as HandMadeBlob, memoryReader(evil.stored));
  await liar.ensure({ offset: 0, size: 8192 });
  const honestFull = makeBlob(CHUNKS);
  await using victim = await openCache(directory.path, honestFull, memoryReader(honestFull.stored));
  assert.notEqual(victim.files.data, liar.files.data);
  assert.deepEqual(await read(victim, 0, 8192), honestFull.flat.subarray(0, 8192));
  for (const { name, blob } of lies) {
    await using later = await openCache(directory.path, blob, memoryReader(blob.stored));
    assert.notEqual(later.files.data, victim.files.data, name);
  }
  await using again = await openCache(directory.path, honestFull, memoryReader(honestFull.stored));
  assert.equal(again.files.data, victim.files.data);
});

test('cache: chunks that overlap are refused', async () => {
  using directory = temporaryDir('cache');
  const blob = makeBlob([patterned(4096, 1)]);
  const { chunks } = blob.device;
  const place = { compressedOffset: 0, compressedSize: 10, compressed: true, crc32: 0 };
  chunks.add({ ...place, uncompressedOffset: 0, uncompressedSize: 4096 }, chunks.digest(0).slice());
  await assert.rejects(openCache(directory.path, blob, memoryReader(blob.stored)), { code: 'BLOB_INVALID' });
});

test('cache: two caches over the same files see what the other has fetched', async () => {
  using directory = temporaryDir('cache');
  const blob = makeBlob(CHUNKS);
  const readers = [memoryReader(blob.stored), memoryReader(blob.stored)] as const;
  await using a = await openCache(directory.path, blob, readers[0]);
  await using b = await openCache(directory.path, blob, readers[1]);
  await a.ensure({ offset: 0, size: 8192 });
  await b.ensure({ offset: 8192, size: 100 });
  assert.deepEqual(await read(b, 0, 8192 + 100), blob.flat.subarray(0, 8192 + 100));
  await a.ensure({ offset: 0, size: 8192 + 100 });
  assert.deepEqual([readers[0].reads.length, readers[1].reads.length], [1, 1]);
});

test('cache: opened many times at once on a new blob, all share one pair of files', async () => {
  using directory = temporaryDir('cache');
  const blob = makeBlob(CHUNKS);
  const caches = await Promise.all(
    Array.from({ length: 8 }, () => openCache(directory.path, blob, memoryReader(blob.stored))),
  );
  try {
    await caches[0]?.ensure({ offset: 0, size: 8192 });
    for (const cache of caches) await cache.ensure({ offset: 0, size: 8192 });
    assert.equal(
      caches.reduce((sum, cache) => sum + cache.counters.fetchedChunks, 0),
      1,
    );
  } finally {
    for (const cache of caches) await cache[Symbol.asyncDispose]();
  }
});

test('cache: a process killed at any moment leaves no chunk that is not its digest', async () => {
  using directory = temporaryDir('cache');
  for (let round = 0; round < 8; round++) {
    const child = fork(join(import.meta.dirname, '../../support/fill-cache.js'), [directory.path], { stdio: 'ignore' });
    const exited = once(child, 'exit');
    await once(child, 'message');
    await sleep(round * 8);
    child.kill('SIGKILL');
    await exited;
  }
  const blob = crashBlob();
  const reader = memoryReader(blob.stored);
  const filesOf = (blobId: string, variant?: string) => blobCacheFiles(directory.path, blobId, variant);
  await using cache = await ChunkCache.open({ device: blob.device, reader, filesOf });
  const { chunks } = cache.coverage();
  assert.ok(chunks > 0, 'the children published something');
  assert.deepEqual(await read(cache, 0, blob.device.size), blob.flat);
  assert.equal(cache.counters.fetchedChunks, blob.device.chunks.count - chunks);
});

/** As test/support/fill-cache.ts makes it. */
function crashBlob(): HandMadeBlob {
  return makeBlob(Array.from({ length: 200 }, (_, seed) => patterned(65_536, seed)));
}

function writeInto(path: string, bytes: Uint8Array, offset: number): void {
  const fd = openSync(path, 'r+');
  try {
    writeSync(fd, bytes, 0, bytes.length, offset);
  } finally {
    closeSync(fd);
  }
}
