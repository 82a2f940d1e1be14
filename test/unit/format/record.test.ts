import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ALL_RECORDS } from '../../../src/format/all-records.ts';
import { packChunkInfoV1, unpackChunkInfoV1, unpackChunkInfoV2 } from '../../../src/format/blob/chunk-info.ts';
import { decodeSectionHeader, encodeSectionHeader } from '../../../src/format/blob/section.ts';
import { splitXattrName } from '../../../src/format/erofs/records.ts';
import { ascii, i53, record, reserved, u16, u32, u53, viewOf } from '../../../src/format/record.ts';

const sample = record('sample', 24, {
  a: u16(0, 'a'),
  gap: reserved(2, 2),
  b: u53(4, 'b'),
  c: i53(12, 'c'),
  d: ascii(20, 4, 'd'),
});

test('record: writes fields at their offsets and zeros between', () => {
  const bytes = sample.encode({ a: 0x1234, b: 2 ** 40 + 5, c: -2, d: 'xy' });
  assert.equal(Buffer.from(bytes).toString('hex'), '341200000500000000010000feffffffffffffff78790000');
  assert.deepEqual(sample.read(viewOf(bytes), 0), { a: 0x1234, b: 2 ** 40 + 5, c: -2, d: 'xy' });
});

const brokenTables = [
  { name: 'a gap', fields: { a: u16(0, ''), b: u16(4, '') } },
  { name: 'an overlap', fields: { a: u32(0, ''), b: u16(2, '') } },
  { name: 'a wrong total', fields: { a: u32(0, '') } },
];
for (const { name, fields } of brokenTables) {
  test(`record: refuses a table with ${name}`, () => {
    assert.throws(() => record('broken', 6, fields), { code: 'BUG' });
  });
}

const outOfRange = [
  { name: 'a u16 above its range', value: { a: 65536, b: 0, c: 0, d: '' } },
  { name: 'a negative size', value: { a: 0, b: -1, c: 0, d: '' } },
  { name: 'an unsafe integer', value: { a: 0, b: 2 ** 53, c: 0, d: '' } },
  { name: 'a fraction', value: { a: 0.5, b: 0, c: 0, d: '' } },
  { name: 'a name that is too long', value: { a: 0, b: 0, c: 0, d: 'abcde' } },
];
for (const { name, value } of outOfRange) {
  test(`record: does not write ${name}`, () => assert.throws(() => sample.encode(value), { code: 'BUG' }));
}

test('record: sizes of the format are what the kernel and nydus have', () => {
  const sizes = Object.fromEntries(ALL_RECORDS.flatMap(({ records }) => records.map(({ name, size }) => [name, size])));
  assert.deepEqual(
    { ...sizes, 'blob.header': undefined },
    {
      ...sizes,
      'erofs.superblock': 128,
      'erofs.device_slot': 128,
      'erofs.inode_extended': 64,
      'erofs.inode_compact': 32,
      'erofs.dirent': 12,
      'erofs.chunk_address': 8,
      'rafs.superblock_ext': 256,
      'rafs.blob_entry': 256,
      'rafs.chunk': 80,
      'blob.header': undefined,
    },
  );
});

const V1_ROWS = [
  {
    name: 'the smallest chunk',
    chunk: { compressedOffset: 0, compressedSize: 1, uncompressedOffset: 0, uncompressedSize: 1 },
  },
  {
    name: 'the largest chunk at the largest offsets',
    chunk: {
      compressedOffset: 2 ** 40 - 1,
      compressedSize: 2 ** 24,
      uncompressedOffset: 2 ** 44 - 4096,
      uncompressedSize: 2 ** 24,
    },
  },
  {
    name: 'sizes around 2^20',
    chunk: { compressedOffset: 77, compressedSize: 2 ** 20 + 1, uncompressedOffset: 8192, uncompressedSize: 2 ** 20 },
  },
];
for (const { name, chunk } of V1_ROWS) {
  test(`chunk info v1: keeps ${name}`, () => assert.deepEqual(unpackChunkInfoV1(packChunkInfoV1(chunk)), chunk));
}

test('chunk info v1: has the documented bits', () => {
  const packed = packChunkInfoV1({
    compressedOffset: 0,
    compressedSize: 5,
    uncompressedOffset: 0,
    uncompressedSize: 5,
  });
  assert.deepEqual(packed, { u: 0x0000_4000_0000_0000n, c: 0x0000_4000_0000_0000n });
});

test('chunk info v2: reads a plain and a batched chunk', () => {
  const plain = unpackChunkInfoV2({ u: (0x11n << 56n) | (99n << 32n) | 3n, c: (50n << 40n) | 7n, d: 0xdeadbeefn });
  assert.deepEqual(plain, {
    uncompressedOffset: 12288,
    uncompressedSize: 100,
    compressedOffset: 7,
    compressedSize: 50,
    flags: 0x11,
    crc32: 0xdeadbeef,
    batchIndex: 0,
    batchOffset: 0xdeadbeef,
  });
  const batched = unpackChunkInfoV2({ u: (0x5n << 56n) | (9n << 32n), c: 7n, d: (2n << 32n) | 30n });
  assert.deepEqual([batched.batchIndex, batched.batchOffset, batched.crc32, batched.compressedSize], [2, 30, 0, 0]);
});

for (const size of [0, 5, 0o77777777777, 8 ** 11, 2 ** 40]) {
  test(`section header: keeps a size of ${size}`, () => {
    const header = encodeSectionHeader('image.blob', size);
    assert.equal(header.length, 512);
    assert.deepEqual(decodeSectionHeader(header), { name: 'image.blob', size });
  });
}

test('section header: refuses flipped bits, short and foreign blocks', () => {
  const header = encodeSectionHeader('blob.meta', 4112);
  for (const at of [0, 130, 150, 260]) {
    const flipped = Uint8Array.from(header);
    flipped[at] = (flipped[at] as number) ^ 1;
    assert.equal(decodeSectionHeader(flipped), undefined, `bit flipped at ${at}`);
  }
  assert.equal(decodeSectionHeader(header.subarray(0, 511)), undefined);
  assert.equal(decodeSectionHeader(new Uint8Array(512)), undefined);
});

const XATTR_NAMES: [string, { index: number; suffix: string } | undefined][] = [
  ['user.a', { index: 1, suffix: 'a' }],
  ['system.posix_acl_access', { index: 2, suffix: '' }],
  ['system.posix_acl_default', { index: 3, suffix: '' }],
  ['system.posix_acl_accessory', undefined],
  ['trusted.overlay.opaque', { index: 4, suffix: 'overlay.opaque' }],
  ['security.capability', { index: 6, suffix: 'capability' }],
  ['user.', undefined],
  ['other.x', undefined],
];
for (const [name, want] of XATTR_NAMES) {
  test(`xattr name ${name}`, () => assert.deepEqual(splitXattrName(name), want));
}
