import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { CHUNK_REFS_PER_LAYER_MAX } from '../../../src/base/limits.ts';
import { zeroPieces } from '../../../src/base/zeros.ts';
import { decompress, digestOf } from '../../../src/codec/codec.ts';
import { CompressPool, type CompressPoolOptions } from '../../../src/convert/compress-pool.ts';
import { LayerBlob } from '../../../src/convert/layer-blob.ts';
import { Meter } from '../../../src/convert/meter.ts';
import type { CompressorName, DigesterName } from '../../../src/format/rafs/algorithms.ts';
import type { BlobInfo } from '../../../src/image/blob-info.ts';
import { blobIndexOf, chunkIndexOf } from '../../../src/image/tree.ts';
import { inPieces } from '../../support/tar-bytes.ts';
import { temporaryDir } from '../../support/temporary.ts';

const scratch = temporaryDir('layer-blob');
after(() => scratch[Symbol.dispose]());

const CHUNK_SIZE = 64 * 1024;
const noise = randomBytes(5 * CHUNK_SIZE);
const text = Buffer.from('some text that compresses '.repeat(20_000));

/** Sizes around the chunk size, content that compresses and does not, content that comes again. */
const FILES = [
  text.subarray(0, 10),
  noise.subarray(0, CHUNK_SIZE - 1),
  noise.subarray(0, CHUNK_SIZE),
  noise.subarray(0, CHUNK_SIZE + 1),
  Buffer.concat([text.subarray(0, 3 * CHUNK_SIZE), noise.subarray(0, CHUNK_SIZE), noise.subarray(7, 8)]),
  text.subarray(0, 10),
  Buffer.alloc(4 * CHUNK_SIZE + 5),
  ...Array.from({ length: 1500 }, (_, index) => Buffer.from(`small file number ${index}`)),
  text.subarray(1, 400_000),
];

interface Settings {
  readonly compressor?: CompressorName;
  readonly digester?: DigesterName;
  readonly pieceSize?: number;
  readonly pool?: Partial<CompressPoolOptions>;
}

let count = 0;

async function write(files: readonly Buffer[], settings: Settings = {}) {
  const { compressor = 'zstd', digester = 'blake3', pieceSize = 1 << 20 } = settings;
  await using pool = new CompressPool({ compressor, workers: 2, slots: 4, slotSize: 1 << 20, ...settings.pool });
  const path = join(scratch.path, `blob-${count++}`);
  const meter = new Meter();
  const options = { pool, path, blobIndex: 3, chunkSize: CHUNK_SIZE, compressor, digester, meter };
  await using blob = await LayerBlob.create(options);
  const refs: number[][] = [];
  for (const file of files) refs.push(await blob.addFile(file.length, inPieces(file, pieceSize)));
  const info = await blob.finish();
  return { info, refs, bytes: readFileSync(path), seen: blob.chunksSeen };
}

/** The file behind its chunk references, out of the blob's bytes. */
function fileOf(refs: readonly number[], info: BlobInfo, bytes: Buffer): Buffer {
  const { chunks, compressor, digester } = info;
  const pieces = refs.map((ref) => {
    const index = chunkIndexOf(ref);
    assert.equal(blobIndexOf(ref), 3);
    const offset = chunks.compressedOffset(index);
    const stored = bytes.subarray(offset, offset + chunks.compressedSize(index));
    const chunk = chunks.compressed(index) ? decompress(compressor, stored, chunks.uncompressedSize(index)) : stored;
    assert.ok(Buffer.from(chunks.digest(index)).equals(digestOf(digester, chunk)));
    return Buffer.from(chunk);
  });
  return Buffer.concat(pieces);
}

for (const settings of [
  { compressor: 'zstd' },
  { compressor: 'lz4' },
  { compressor: 'none' },
  { digester: 'sha256' },
] as const satisfies readonly Settings[]) {
  test(`every file comes back out of its blob: ${JSON.stringify(settings)}`, async () => {
    const { info, refs, bytes } = await write(FILES, settings);
    assert.ok(info);
    for (const [index, file] of FILES.entries()) {
      assert.equal(refs[index]?.length, Math.ceil(file.length / CHUNK_SIZE));
      assert.ok(fileOf(refs[index] ?? [], info, bytes).equals(file), `file ${index}`);
    }
    assert.equal(info.blobId, createHash('sha256').update(bytes).digest('hex'));
    assert.equal(info.compressedSize, bytes.length);
  });
}

test('chunks lie back to back in the blob, and at blocks on the device', async () => {
  const { info } = await write(FILES);
  assert.ok(info);
  const { chunks } = info;
  let compressed = 0;
  let uncompressed = 0;
  for (let index = 0; index < chunks.count; index++) {
    assert.equal(chunks.compressedOffset(index), compressed);
    assert.equal(chunks.uncompressedOffset(index), uncompressed);
    assert.equal(chunks.compressed(index), chunks.compressedSize(index) < chunks.uncompressedSize(index));
    compressed += chunks.compressedSize(index);
    uncompressed += Math.ceil(chunks.uncompressedSize(index) / 4096) * 4096;
  }
  assert.equal(info.uncompressedSize, uncompressed);
});

test('content that comes again is stored once', async () => {
  const { info, refs, seen } = await write(FILES);
  assert.deepEqual(refs[0], refs[5]);
  assert.equal(refs[3]?.[0], refs[2]?.[0]);
  assert.equal(refs[4]?.[3], refs[2]?.[0]);
  assert.deepEqual(new Set(refs[6]?.slice(0, 4)).size, 1);
  assert.equal(seen, refs.flat().length);
  assert.equal(info?.chunks.count, new Set(refs.flat()).size);
});

test('the blob does not depend on how pieces are cut, on threads or on memory', async () => {
  const want = await write(FILES);
  for (const settings of [
    { pieceSize: 1000 },
    { pieceSize: CHUNK_SIZE },
    { pieceSize: CHUNK_SIZE - 1 },
    { pieceSize: 37, pool: { workers: 1 } },
    { pool: { workers: 4, slots: 12 } },
    { pool: { slots: 1 } },
    { pool: { slotSize: CHUNK_SIZE } },
  ] satisfies Settings[]) {
    const got = await write(FILES, settings);
    assert.equal(got.info?.blobId, want.info?.blobId, JSON.stringify(settings));
    assert.deepEqual(got.refs, want.refs);
  }
});

test('holes are chunks of zeros like any other, at any size', async () => {
  const ends = [100, CHUNK_SIZE, 5 * CHUNK_SIZE + 7, (16 << 20) + CHUNK_SIZE];
  const [holes, zeros] = await Promise.all(
    [true, false].map(async (known) => {
      await using pool = new CompressPool({ compressor: 'zstd', workers: 1, slots: 2, slotSize: 1 << 20 });
      const path = join(scratch.path, `holes-${known}`);
      const options = { pool, path, blobIndex: 0, chunkSize: CHUNK_SIZE, meter: new Meter() };
      await using blob = await LayerBlob.create({ ...options, compressor: 'zstd', digester: 'blake3' });
      const refs: number[][] = [];
      for (const end of ends) {
        const body = async function* () {
          yield noise.subarray(0, 50);
          if (known) yield* zeroPieces(50, end);
          else yield Buffer.alloc(end - 50);
        };
        refs.push(await blob.addFile(end, body()));
      }
      return { refs, blobId: (await blob.finish())?.blobId, seen: [blob.chunksSeen, blob.bytesSeen] };
    }),
  );
  assert.deepEqual(holes, zeros);
});

test('a file of terabytes is refused before it is read', async () => {
  await using pool = new CompressPool({ compressor: 'none', workers: 1, slots: 2, slotSize: 1 << 20 });
  const options = { pool, path: join(scratch.path, 'huge'), blobIndex: 0, chunkSize: 4096, meter: new Meter() };
  await using blob = await LayerBlob.create({ ...options, compressor: 'none', digester: 'blake3' });
  const size = (CHUNK_REFS_PER_LAYER_MAX + 1) * 4096;
  await assert.rejects(blob.addFile(size, zeroBody(size)), { code: 'LIMIT_EXCEEDED', hint: /--chunk-size/ });
});

async function* zeroBody(size: number): AsyncGenerator<Uint8Array> {
  yield* zeroPieces(0, size);
}

test('a layer without file data has no blob', async () => {
  const { info, bytes, refs } = await write([Buffer.alloc(0)]);
  assert.deepEqual({ info, refs, size: bytes.length }, { info: undefined, refs: [[]], size: 0 });
});

test('a pool that is given up fails the blob, and closing it does not hang', async () => {
  const pool = new CompressPool({ compressor: 'zstd', workers: 1, slots: 2, slotSize: 1 << 20 });
  const options = {
    pool,
    path: join(scratch.path, 'given-up'),
    blobIndex: 0,
    chunkSize: CHUNK_SIZE,
    meter: new Meter(),
  };
  const blob = await LayerBlob.create({ ...options, compressor: 'zstd', digester: 'blake3' });
  await blob.addFile(noise.length, inPieces(noise, 1000));
  await pool[Symbol.asyncDispose]();
  await assert.rejects(blob.finish(), { code: 'CANCELED' });
  await blob[Symbol.asyncDispose]();
});
