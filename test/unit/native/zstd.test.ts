// zstd on threads of Node's pool: what it gives, and what is none.
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

test('zstd: compresses no chunks that are not within their arrays', addon(), async () => {
  const { zstdCompress } = loadAddon();
  const [bytes, sizes, storedSizes] = [new Uint8Array(100), Uint32Array.of(60, 40), new Uint32Array(2)];
  assert.ok((await zstdCompress(bytes, sizes, storedSizes, 3)) >= 0);
  assert.ok(storedSizes.every((stored) => stored > 0 && stored < 40));
  for (const [some, as, to] of [
    [bytes, Uint32Array.of(60, 41), storedSizes],
    [bytes, Uint32Array.of(0xffff_ffff, 101), storedSizes],
    [bytes, sizes, storedSizes.subarray(1)],
    [new Float64Array(100), sizes, storedSizes],
    [bytes, bytes, storedSizes],
  ]) {
    assert.throws(() => zstdCompress(some as Uint8Array, as as Uint32Array, to as Uint32Array, 3), TypeError);
  }
});
