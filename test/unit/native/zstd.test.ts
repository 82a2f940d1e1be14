// Decompression on a worker thread: what it gives, and what is none.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createCompressor } from '../../../src/codec/codec.ts';
import { loadAddon } from '../../../src/native/load.ts';
import { addon } from '../../support/requires.ts';

test(
  'zstd: decompresses into the room that is given, and tells when that is too small or the bytes are none',
  addon(),
  async () => {
    const { zstdDecompress } = loadAddon();
    const chunk = new Uint8Array(1_000_000).map((_, i) => (i * i) >>> 7);
    const stored = createCompressor('zstd')(chunk);
    const room = new Uint8Array(chunk.length + 10);
    assert.equal(await zstdDecompress(room, stored), chunk.length);
    assert.deepEqual(room.subarray(0, chunk.length), chunk);
    const together = await Promise.all(
      Array.from({ length: 20 }, () => zstdDecompress(new Uint8Array(chunk.length), stored)),
    );
    assert.deepEqual(
      together,
      together.map(() => chunk.length),
    );
    assert.equal(await zstdDecompress(room.subarray(0, chunk.length - 1), stored), -1);
    assert.equal(await zstdDecompress(room, stored.subarray(0, 1000)), -1);
    assert.equal(await zstdDecompress(room, chunk), -1);
    assert.equal(await zstdDecompress(room, new Uint8Array(0)), 0);
    assert.throws(() => zstdDecompress(room, 'stored' as unknown as Uint8Array), TypeError);
    assert.throws(() => zstdDecompress(new Float64Array(9) as unknown as Uint8Array, stored), TypeError);
  },
);
