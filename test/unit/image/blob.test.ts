// A blob's tail written and read back, and tails that lie.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { NaiadError } from '../../../src/base/errors.ts';
import { digestOf } from '../../../src/codec/codec.ts';
import type { CompressorName } from '../../../src/format/rafs/algorithms.ts';
import type { BlobInfo } from '../../../src/image/blob-info.ts';
import { readChunkInfo, readDigests, readToc, tailRanges } from '../../../src/image/blob-reader.ts';
import { finishBlob } from '../../../src/image/blob-writer.ts';
import type { BlobView } from '../../../src/image/bootstrap-tables.ts';
import { ChunkTable } from '../../../src/image/chunk-table.ts';

function blob(compressor: CompressorName, count: number): { bytes: Buffer; info: BlobInfo; view: BlobView } {
  const chunks = new ChunkTable();
  const data = Buffer.alloc(count * 10, 3);
  for (let index = 0; index < count; index++) {
    chunks.add(
      {
        compressedOffset: index * 10,
        compressedSize: 10,
        uncompressedOffset: index * 4096,
        uncompressedSize: index % 2 === 0 ? 10 : 4000,
        compressed: index % 2 === 1,
        crc32: 0,
      },
      digestOf('blake3', Buffer.from([index])),
    );
  }
  const hash = createHash('sha256').update(data);
  const { sections, info } = finishBlob({ chunks, compressor, digester: 'blake3', dataSize: data.length, hash });
  return { bytes: Buffer.concat([data, ...sections]), info, view: { ...info, blobIndex: 0, chunkCount: count } };
}

const cut = (bytes: Buffer, { offset, size }: { offset: number; size: number }) =>
  bytes.subarray(offset, offset + size);

for (const compressor of ['none', 'lz4', 'zstd'] as const) {
  for (const count of [1, 2, 300]) {
    test(`blob: ${count} chunks, table compressed with ${compressor}, read back`, () => {
      const { bytes, info, view } = blob(compressor, count);
      assert.equal(info.blobId, createHash('sha256').update(bytes).digest('hex'));
      assert.equal(info.compressedSize, bytes.length);
      const ranges = tailRanges(view);
      assert.ok(ranges.digests);
      const table = readChunkInfo(view, cut(bytes, ranges.info), readDigests(view, cut(bytes, ranges.digests)));
      assert.equal(table.count, count);
      for (let index = 0; index < count; index++) {
        assert.equal(table.compressedOffset(index), info.chunks.compressedOffset(index));
        assert.equal(table.uncompressedOffset(index), info.chunks.uncompressedOffset(index));
        assert.equal(table.uncompressedSize(index), info.chunks.uncompressedSize(index));
        assert.equal(table.compressed(index), info.chunks.compressed(index));
        assert.deepEqual(Buffer.from(table.digest(index)), Buffer.from(info.chunks.digest(index)));
      }
      assert.equal(table.indexAt(count * 4096 - 1), count - 1);
      const names = readToc(bytes, bytes.length).map(({ name }) => name);
      assert.deepEqual(names, ['image.blob', 'blob.meta', 'blob.meta.header', 'blob.digest']);
    });
  }
}

test('blob: every section of the TOC has the digest the TOC says', () => {
  const { bytes } = blob('zstd', 300);
  const toc = readToc(bytes, bytes.length);
  for (const name of ['blob.meta.header', 'blob.digest']) {
    const entry = toc.find((one) => one.name === name);
    assert.ok(entry);
    const section = bytes.subarray(entry.compressedOffset, entry.compressedOffset + entry.compressedSize);
    assert.deepEqual(createHash('sha256').update(section).digest(), Buffer.from(entry.digest));
  }
});

test('blob: a tail with any byte changed is refused or reads as a table', () => {
  const { bytes, view } = blob('none', 5);
  const ranges = tailRanges(view);
  assert.ok(ranges.digests);
  for (let at = 50; at < bytes.length; at++) {
    const bad = Buffer.from(bytes);
    bad[at] = (bad[at] as number) ^ 0x40;
    try {
      readChunkInfo(view, cut(bad, ranges.info), readDigests(view, cut(bad, ranges.digests)));
      readToc(bad, bad.length);
    } catch (error) {
      assert.ok(error instanceof NaiadError && error.code === 'BLOB_INVALID', String(error));
    }
  }
});

const lies: { name: string; view: Partial<BlobView> }[] = [
  { name: 'another count', view: { chunkCount: 6 } },
  { name: 'another place', view: { ciOffset: 51 } },
  { name: 'another size of the table', view: { ciUncompressedSize: 96 } },
  { name: 'a smaller device', view: { uncompressedSize: 4096 } },
];
for (const { name, view: lie } of lies) {
  test(`blob: a bootstrap that says ${name} is contradicted`, () => {
    const { bytes, view } = blob('none', 5);
    const info = cut(bytes, tailRanges(view).info);
    assert.throws(() => readChunkInfo({ ...view, ...lie }, info), { code: 'BLOB_INVALID' });
  });
}

test('readToc: refuses blobs without a TOC, and entries that lie', () => {
  const { bytes } = blob('none', 5);
  assert.throws(() => readToc(bytes.subarray(0, -1), bytes.length - 1), { code: 'BLOB_INVALID' });
  assert.throws(() => readToc(new Uint8Array(100), 100), { code: 'BLOB_INVALID' });
  assert.throws(() => readToc(bytes, 1000), { code: 'BLOB_INVALID' });
});
