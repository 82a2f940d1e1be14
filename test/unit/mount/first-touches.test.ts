// What a mount remembers of first touches when there are more than it keeps.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ChunkTable } from '../../../src/image/chunk-table.ts';
import { FirstTouches } from '../../../src/mount/first-touches.ts';

const CHUNK = 4096;

test('first touches: the first of them are kept, once each, and that there were more is known', () => {
  const chunks = new ChunkTable();
  for (let index = 0; index < 10; index++) {
    const place = { uncompressedOffset: index * CHUNK, uncompressedSize: CHUNK };
    const stored = { compressedOffset: 0, compressedSize: CHUNK, compressed: false, crc32: 0 };
    chunks.add({ ...place, ...stored }, new Uint8Array(32));
  }
  const device = { blobId: '', size: 10 * CHUNK, compressor: 'none', digester: 'blake3', chunks } as const;
  const touches = new FirstTouches([device], 3);
  for (const index of [7, 7, 2, 5]) touches.ofDevice(0, { offset: index * CHUNK, size: CHUNK });
  assert.equal(touches.recorded.cut, false);
  touches.ofDevice(0, { offset: 0, size: 10 * CHUNK });
  const { touches: kept, cut } = touches.recorded;
  assert.deepEqual([kept.map(({ deviceOffset }) => deviceOffset / CHUNK), cut], [[7, 2, 5], true]);
});
