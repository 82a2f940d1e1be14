import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { createCompressor, decompress } from '../../../src/codec/codec.ts';
import { CHUNKS_PER_SLOT_MAX, CompressPool, type CompressPoolOptions } from '../../../src/convert/compress-pool.ts';
import type { CompressorName } from '../../../src/format/rafs/algorithms.ts';

const OPTIONS: CompressPoolOptions = { compressor: 'zstd', workers: 2, slots: 4, slotSize: 1 << 20 };

const CHUNKS = [
  Buffer.from('compressible '.repeat(1000)),
  randomBytes(5000),
  Buffer.alloc(1),
  Buffer.from('again compressible '.repeat(3000)),
  randomBytes(1),
  Buffer.alloc(300_000, 'ab'),
];

for (const compressor of ['zstd', 'lz4', 'gzip', 'none'] as const satisfies readonly CompressorName[]) {
  test(`${compressor}: chunks of one slot come back in order, each as it is stored`, async () => {
    await using pool = new CompressPool({ ...OPTIONS, compressor });
    const slot = await pool.acquire();
    for (const chunk of CHUNKS) {
      slot.room(chunk.length).set(chunk);
      slot.add(chunk.length);
    }
    await pool.compress(slot);
    const compress = createCompressor(compressor);
    let at = 0;
    for (const [index, chunk] of CHUNKS.entries()) {
      const size = slot.storedSizes[index] as number;
      const stored = Buffer.from(slot.bytes.subarray(at, at + size));
      const alone = Buffer.from(compress(chunk));
      assert.ok(stored.equals(alone.length < chunk.length ? alone : chunk), `chunk ${index}`);
      if (size < chunk.length) assert.ok(Buffer.from(decompress(compressor, stored, chunk.length)).equals(chunk));
      else assert.equal(size, chunk.length);
      at += size;
    }
    pool.release(slot);
    assert.equal(slot.count, 0);
  });
}

test('a CRC-32C is made of every chunk', async () => {
  for (const compressor of ['zstd', 'none'] as const) {
    await using pool = new CompressPool({ ...OPTIONS, compressor });
    const slot = await pool.acquire();
    slot.room(9).set(Buffer.from('123456789'));
    slot.add(9);
    await pool.compress(slot);
    assert.equal(slot.crcs[0], 0xe306_9283);
  }
});

test('a slot holds a bounded number of chunks', async () => {
  await using pool = new CompressPool(OPTIONS);
  const slot = await pool.acquire();
  for (let i = 0; i < CHUNKS_PER_SLOT_MAX; i++) slot.add(1);
  assert.equal(slot.fits(1), false);
  assert.equal((await pool.acquire()).fits(1 << 20), true);
});

test('who finds no free slot waits for one, in the order of asking', async () => {
  await using pool = new CompressPool({ ...OPTIONS, slots: 1 });
  const first = await pool.acquire();
  const order: number[] = [];
  const waiting = [1, 2].map(async (number) => {
    const slot = await pool.acquire();
    order.push(number);
    pool.release(slot);
  });
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(order, []);
  pool.release(first);
  await Promise.all(waiting);
  assert.deepEqual(order, [1, 2]);
});

test('who waits when the pool is given up is told so', async () => {
  const pool = new CompressPool({ ...OPTIONS, slots: 1, slotSize: 16 << 20, level: 19 });
  const slot = await pool.acquire();
  slot.add(16 << 20);
  const compressing = pool.compress(slot);
  const acquiring = pool.acquire() as Promise<unknown>;
  const both = Promise.allSettled([compressing, acquiring]);
  await pool[Symbol.asyncDispose]();
  for (const result of await both) {
    assert.equal(result.status, 'rejected');
    assert.equal((result as PromiseRejectedResult).reason.code, 'CANCELED');
  }
  assert.throws(() => pool.acquire(), { code: 'CANCELED' });
});
