import { deepEqual, equal } from 'node:assert/strict';
import { test } from 'node:test';
import { CHUNK_DIGEST_SIZE, ChunkTable } from '../../../src/image/chunk-table.ts';

const BLOCK = 4096;

test('chunks with a digest are visited with their place, and neither those that are absent nor those that have none', () => {
  const table = new ChunkTable();
  const add = (block: number, digest: number) => {
    const stored = { compressedOffset: 0, compressedSize: 7, compressed: true, crc32: 0 };
    const chunk = { ...stored, uncompressedOffset: block * BLOCK, uncompressedSize: 100 + block };
    return table.add(chunk, new Uint8Array(CHUNK_DIGEST_SIZE).fill(digest, 31));
  };
  table.addAbsent(0, 2);
  table.addAbsent(2 * BLOCK, 1);
  add(3, 0xab);
  add(4, 0);
  table.addAbsent(5 * BLOCK, 3);
  add(2 ** 24, 1); // Behind what 32 bits of bytes can say.
  table.addAbsent((2 ** 24 + 1) * BLOCK, 1);
  const visited: number[][] = [];
  table.forEachVerifiable((index, offset, size, page, digestAt) => {
    visited.push([index, offset, size, page[digestAt] as number, (page[digestAt + 7] as number) >>> 24]);
  });
  const expected = [
    [3, 3 * BLOCK, 103, 0, 0xab],
    [8, 2 ** 24 * BLOCK, 100 + 2 ** 24, 0, 1],
  ];
  deepEqual(visited, expected);
  equal(table.count, 10);
  const verifiable = Array.from({ length: table.count }, (_, index) => index).filter((index) => table.hasDigest(index));
  deepEqual(verifiable, [3, 8]);
});

test('a table without chunks that are present visits none', () => {
  const table = new ChunkTable();
  table.addAbsent(0, 5);
  table.forEachVerifiable(() => equal(true, false));
  equal(table.hasDigest(4), false);
});
