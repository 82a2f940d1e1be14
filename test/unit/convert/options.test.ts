import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BUILD_DEFAULTS, type BuildOptions } from '../../../src/convert/build-options.ts';
import { checkBuildOptions, parseChunkSize, poolOptions } from '../../../src/convert/options.ts';

const MiB = 1 << 20;

for (const [text, want] of [
  ['1MiB', MiB],
  ['64KiB', 65_536],
  ['4096', 4096],
  ['16M', 16 * MiB],
  ['8kb', 8192],
] as const) {
  test(`chunk size ${text}`, () => assert.equal(parseChunkSize(text), want));
}

for (const text of ['', 'x', '1GiB', '-1', '1.5MiB', '1 MiB', '0x1000', '999999999']) {
  test(`no chunk size: ${JSON.stringify(text)}`, () => assert.throws(() => parseChunkSize(text), { code: 'USAGE' }));
}

for (const [name, options] of Object.entries({
  'chunks below 4 KiB': { chunkSize: 2048 },
  'chunks above 16 MiB': { chunkSize: 32 * MiB },
  'chunks of no power of two': { chunkSize: 3 * MiB },
  'a level of lz4': { compressor: 'lz4', level: 3 },
  'level 0': { level: 0 },
  'level 23': { level: 23 },
  'level 2.5': { level: 2.5 },
  'no jobs': { jobs: 0 },
  'a thousand jobs': { jobs: 1000 },
} satisfies Record<string, Partial<BuildOptions>>)) {
  test(`refuses ${name}`, () => {
    assert.throws(() => checkBuildOptions({ ...BUILD_DEFAULTS, ...options }), { code: 'USAGE' });
  });
}

test('takes the defaults and the extremes', () => {
  checkBuildOptions(BUILD_DEFAULTS);
  checkBuildOptions({ ...BUILD_DEFAULTS, chunkSize: 4096, level: 22, jobs: 16 });
  checkBuildOptions({ ...BUILD_DEFAULTS, chunkSize: 16 * MiB, level: 1, jobs: 1 });
});

for (const chunkSize of [4096, MiB, 16 * MiB]) {
  for (const jobs of [1, 2, 16]) {
    for (const workers of [1, 2, 8]) {
      test(`slots for chunks of ${chunkSize}, ${jobs} jobs, ${workers} workers`, () => {
        const pool = poolOptions({ ...BUILD_DEFAULTS, chunkSize, jobs, workers });
        assert.ok(pool.slots >= 2, 'one to fill while another is compressed or written');
        assert.ok(pool.slotSize >= chunkSize);
        assert.ok(pool.slots * pool.slotSize <= 32 * MiB);
      });
    }
  }
}
