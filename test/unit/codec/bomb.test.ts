import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createCompressor, decompress } from '../../../src/codec/codec.ts';

for (const name of ['zstd', 'gzip', 'lz4'] as const) {
  test(`decompress: ${name} that holds more than its chunk is refused`, () => {
    const stored = Uint8Array.from(createCompressor(name)(Buffer.alloc(8 << 20)));
    assert.equal(decompress(name, stored, 8 << 20).length, 8 << 20);
    const before = process.memoryUsage().arrayBuffers;
    assert.throws(() => decompress(name, stored, 1000), { code: 'CHUNK_INVALID' });
    assert.ok(process.memoryUsage().arrayBuffers - before < 1 << 20);
  });
}
