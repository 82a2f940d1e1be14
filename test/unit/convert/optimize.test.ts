// Bootstraps with chunks moved into a hot blob: what files hold, and where it lies.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { BlobReader } from '../../../src/backend/blob-reader.ts';
import { chunkOf, unpackUnit } from '../../../src/backend/chunk-content.ts';
import { openDevices } from '../../../src/backend/devices.ts';
import { unitsOf } from '../../../src/backend/fetch-plan.ts';
import { createCompressorInto, digestOf } from '../../../src/codec/codec.ts';
import { writeHotBlob } from '../../../src/convert/hot-blob.ts';
import type { CompressorName, DigesterName } from '../../../src/format/rafs/algorithms.ts';
import type { BlobInfo } from '../../../src/image/blob-info.ts';
import { finishBlob } from '../../../src/image/blob-writer.ts';
import { Bootstrap } from '../../../src/image/bootstrap-reader.ts';
import { type RewrittenBootstrap, rewriteBootstrap } from '../../../src/image/bootstrap-rewrite.ts';
import { checkBootstrap } from '../../../src/image/check.ts';
import { ChunkTable } from '../../../src/image/chunk-table.ts';
import type { Device } from '../../../src/image/device.ts';
import { planHotBlob } from '../../../src/image/hot-blob.ts';
import type { ImageChunk } from '../../../src/image/trace-chunks.ts';
import { chunkRef } from '../../../src/image/tree.ts';
import { walk } from '../../../src/image/walk.ts';
import { emptyDirectory, writeBootstrap } from '../../support/planted-tree.ts';
import { temporaryDir } from '../../support/temporary.ts';

const CHUNK_SIZE = 4096;
const BLOBS: readonly { readonly compressor: CompressorName; readonly digester: DigesterName }[] = [
  { compressor: 'zstd', digester: 'blake3' },
  { compressor: 'lz4', digester: 'blake3' },
  { compressor: 'gzip', digester: 'sha256' },
];
/** Each word is a chunk: the digit its blob, the letter what it is filled with; `!` cannot be compressed. */
const FILES: Readonly<Record<string, readonly string[]>> = {
  'bin/app': ['0a', '0b', '0c', '0d'],
  'bin/tool': ['1e', '1!', '0a'],
  'etc/conf': ['2f'],
  'etc/other': ['0g', '2h'],
};

interface Made {
  readonly bootstrap: Bootstrap;
  readonly devices: readonly Device[];
  readonly readerOf: (blobId: string) => BlobReader;
  /** By word. */
  readonly places: ReadonlyMap<string, ImageChunk>;
}

function contentOf(word: string): Buffer {
  if (!word.endsWith('!')) return Buffer.alloc(CHUNK_SIZE, word[1]);
  return Buffer.concat(Array.from({ length: CHUNK_SIZE / 32 }, (_, i) => createHash('sha256').update(`${i}`).digest()));
}

async function imageOf(): Promise<Made> {
  const places = new Map<string, ImageChunk>();
  const parts = BLOBS.map(({ compressor, digester }, device) => {
    const chunks = new ChunkTable();
    const data: Buffer[] = [];
    const compress = createCompressorInto(compressor, { sizeMax: CHUNK_SIZE });
    let compressedOffset = 0;
    for (const word of new Set(Object.values(FILES).flat())) {
      if (word[0] !== String(device)) continue;
      const content = contentOf(word);
      const stored = Buffer.from(compress(content) ?? content);
      const place = { compressedOffset, compressedSize: stored.length, compressed: stored.length !== content.length };
      const uncompressed = { uncompressedOffset: chunks.count * CHUNK_SIZE, uncompressedSize: CHUNK_SIZE, crc32: 7 };
      const chunk = chunks.add({ ...place, ...uncompressed }, digestOf(digester, content));
      places.set(word, { device, chunk });
      data.push(stored);
      compressedOffset += stored.length;
    }
    const bytes = Buffer.concat(data);
    const hash = createHash('sha256').update(bytes);
    const { info } = finishBlob({ chunks, compressor, digester, dataSize: bytes.length, hash });
    return { info, bytes };
  });
  const root = emptyDirectory();
  // More than a block of names, so that a directory has blocks of its own that move.
  for (let index = 0; index < 400; index++) root.children.set(`empty-${index}`, emptyDirectory());
  for (const [path, words] of Object.entries(FILES)) {
    const [directory = '', name = ''] = path.split('/');
    const parent = root.children.get(directory) ?? emptyDirectory();
    assert.equal(parent.kind, 'directory');
    root.children.set(directory, parent);
    const chunks = words.map((word) => {
      const { device, chunk } = places.get(word) as ImageChunk;
      return chunkRef(device, chunk);
    });
    const attributes = { mode: 0o100644, uid: 0, gid: 0, mtimeSec: 0, mtimeNsec: 0, xattrs: [] };
    parent.children.set(name, { kind: 'file', ...attributes, size: words.length * CHUNK_SIZE, chunks });
  }
  const { bytes } = writeBootstrap({
    ...{ root, blobs: parts.map(({ info }) => info), chunkSize: CHUNK_SIZE, compressor: 'zstd', digester: 'blake3' },
    prefetch: [['etc', 'conf']],
  });
  const bootstrap = Bootstrap.parse(bytes);
  const readerOf = (blobId: string) => readerOfBytes(parts.find(({ info }) => info.blobId === blobId)?.bytes);
  return { bootstrap, devices: await openDevices(bootstrap, readerOf), readerOf, places };
}

function readerOfBytes(bytes: Uint8Array | undefined): BlobReader {
  assert.ok(bytes);
  const readAt: BlobReader['readAt'] = ({ offset, size }) => Promise.resolve(bytes.subarray(offset, offset + size));
  return { name: 'memory', readAt };
}

interface Optimized {
  readonly hot: BlobInfo;
  readonly rewritten: RewrittenBootstrap;
  readonly bytes: Buffer;
}

async function optimized(made: Made, words: readonly string[]): Promise<Optimized> {
  using directory = temporaryDir('optimize');
  const path = join(directory.path, 'hot');
  const { devices, readerOf, places } = made;
  const plan = planHotBlob(
    devices,
    words.map((word) => places.get(word) as ImageChunk),
  );
  const hot = await writeHotBlob({ plan, devices, readerOf, path, signal: new AbortController().signal });
  const bytes = readFileSync(path);
  assert.equal(createHash('sha256').update(bytes).digest('hex'), hot.blobId);
  return { hot, bytes, rewritten: rewriteBootstrap(made.bootstrap, hot, plan.moved) };
}

/** What every file holds, read by way of the bootstrap and verified; and the words of each blob. */
async function assertSame(made: Made, { rewritten, bytes, hot }: Optimized): Promise<Bootstrap> {
  assert.deepEqual(checkBootstrap(rewritten.bytes).findings, []);
  const bootstrap = Bootstrap.parse(rewritten.bytes);
  const readerOf = (blobId: string) => (blobId === hot.blobId ? readerOfBytes(bytes) : made.readerOf(blobId));
  const devices = await openDevices(bootstrap, readerOf);
  const names = [...walk(made.bootstrap)].map(({ path }) => path.join('/'));
  assert.deepEqual(
    [...walk(bootstrap)].map(({ path }) => path.join('/')),
    names,
  );
  for (const [path, words] of Object.entries(FILES)) {
    const nid = bootstrap.resolve(path.split('/')) as number;
    for (const [position, { blobIndex, chunkIndex, deviceOffset }] of bootstrap.chunkAddresses(nid).entries()) {
      const device = devices[blobIndex] as Device;
      assert.equal(device.chunks.uncompressedOffset(chunkIndex), deviceOffset);
      const [unit] = unitsOf(device.chunks, [chunkIndex]);
      assert.ok(unit);
      const range = { offset: unit.compressedOffset, size: unit.compressedSize };
      const stored = await readerOf(device.blobId).readAt(range);
      const content = chunkOf(device, chunkIndex, unpackUnit(device, unit, stored));
      assert.deepEqual(Buffer.from(content), contentOf(words[position] as string), `${path}, chunk ${position}`);
    }
  }
  return bootstrap;
}

/** Blob and chunk of each chunk of a file. */
function placesOf(bootstrap: Bootstrap, path: string): string[] {
  const nid = bootstrap.resolve(path.split('/')) as number;
  return bootstrap.chunkAddresses(nid).map(({ blobIndex, chunkIndex }) => `${blobIndex}.${chunkIndex}`);
}

for (const { name, words, places, kept } of [
  {
    name: 'chunks in their order, each once, the hot blob last',
    words: ['0c', '0a', '0c'],
    places: { 'bin/app': ['3.1', '0.1', '3.0', '0.3'], 'bin/tool': ['1.0', '1.1', '3.1'] },
    kept: [0, 1, 2],
  },
  {
    name: 'a blob of which nothing is left goes',
    words: ['1!', '0a', '0b', '1e'],
    places: { 'bin/tool': ['2.3', '2.0', '2.1'], 'etc/other': ['0.4', '1.1'] },
    kept: [0, 2],
  },
  {
    name: 'gzip becomes zstd',
    words: ['2f', '2h'],
    places: { 'etc/conf': ['2.0'], 'etc/other': ['0.4', '2.1'] },
    kept: [0, 1],
  },
  {
    name: 'everything',
    words: ['0a', '0b', '0c', '0d', '1e', '1!', '2f', '0g', '2h'],
    places: { 'bin/app': ['0.0', '0.1', '0.2', '0.3'] },
    kept: [],
  },
]) {
  test(`optimize: ${name}`, async () => {
    const made = await imageOf();
    const result = await optimized(made, words);
    const bootstrap = await assertSame(made, result);
    for (const [path, expected] of Object.entries(places)) {
      assert.deepEqual(placesOf(bootstrap, path), expected, path);
    }
    assert.deepEqual(
      result.rewritten.keptBlobIds,
      kept.map((index) => made.bootstrap.blobs[index]?.blobId),
    );
    assert.deepEqual(bootstrap.prefetchNids(), made.bootstrap.prefetchNids());
    const again = await optimized(made, words);
    assert.equal(again.hot.blobId, result.hot.blobId);
    assert.deepEqual(again.rewritten.bytes, result.rewritten.bytes);
  });
}

test('optimize: what the kernel is told of the chunks of a file is what holds', async () => {
  const made = await imageOf();
  const formatOf = (bootstrap: Bootstrap) => bootstrap.place(bootstrap.resolve(['bin', 'app']) as number).u & 0x1f;
  // Four chunks in a row are one of 16 KiB to the kernel; with one of them elsewhere they are not.
  assert.equal(formatOf(made.bootstrap), 2);
  assert.equal(formatOf(await assertSame(made, await optimized(made, ['0b']))), 0);
  assert.equal(formatOf(await assertSame(made, await optimized(made, ['0d', '0a', '0b', '0c']))), 0);
  assert.equal(formatOf(await assertSame(made, await optimized(made, ['0g', '0a', '0b', '0c', '0d']))), 2);
});
