// What a read that has to wait brings along.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ByteRange } from '../../../src/backend/blob-reader.ts';
import { FETCH_SIZE_MAX } from '../../../src/base/limits.ts';
import { KiB, MiB } from '../../../src/base/units.ts';
import { ChunkTable } from '../../../src/image/chunk-table.ts';
import type { Device } from '../../../src/image/device.ts';
import { rangeAround } from '../../../src/mount/read-around.ts';

const STORED = { compressedOffset: 0, compressedSize: 1, compressed: true, crc32: 0 };

/** A device of chunks of these sizes, one behind the other, and of which nothing is present. */
class Chunks {
  readonly device: Device;
  readonly #present = new Set<number>();

  constructor(sizes: readonly number[]) {
    const chunks = new ChunkTable();
    let end = 0;
    for (const uncompressedSize of sizes) {
      chunks.add({ ...STORED, uncompressedOffset: end, uncompressedSize }, new Uint8Array(32).fill(1));
      end += Math.ceil(uncompressedSize / 4096) * 4096;
    }
    this.device = { chunks, size: end } as Device;
  }

  isPresent(index: number): boolean {
    return this.#present.has(index);
  }

  /** Fetches what a read brings, and returns it. */
  read(range: ByteRange): ByteRange {
    const around = rangeAround(this, range);
    const { chunks } = this.device;
    for (let index = 0; index < chunks.count; index++) {
      const offset = chunks.uncompressedOffset(index);
      if (offset >= around.offset && offset < around.offset + around.size) this.#present.add(index);
    }
    return around;
  }
}

const times = <T>(count: number, one: T): T[] => Array.from({ length: count }, () => one);

test('read around: small files come with those before and behind them, whole', () => {
  const files = new Chunks(times(4096, 3000));
  assert.deepEqual(files.read({ offset: 4 * MiB, size: 4096 }), {
    offset: 4 * MiB - 256 * KiB,
    size: 256 * KiB + 4096 + 1 * MiB - 4096 + 3000,
  });
  const uneven = new Chunks([300 * KiB, 200 * KiB, 10, 900 * KiB, 200 * KiB, 10]);
  const start = 300 * KiB;
  assert.deepEqual(uneven.read({ offset: 500 * KiB, size: 4096 }), {
    offset: start,
    size: 200 * KiB + 4096 + 900 * KiB,
  });
});

test('read around: a page of a large file brings its chunk and the next one', () => {
  const file = new Chunks(times(64, 1 * MiB));
  assert.deepEqual(file.read({ offset: 10 * MiB + 64 * KiB, size: 4096 }), { offset: 10 * MiB, size: 2 * MiB });
});

test('read around: readers of one place bring it once, however many', () => {
  const file = new Chunks(times(64, 1 * MiB));
  const first = rangeAround(file, { offset: 16 * MiB, size: 16 * KiB });
  for (let reader = 0; reader < 20; reader++) {
    assert.deepEqual(rangeAround(file, { offset: 16 * MiB, size: 16 * KiB }), first);
  }
});

test('read around: what is read from front to back is fetched ahead, ever further, up to the limit', () => {
  const file = new Chunks(times(128, 1 * MiB));
  let trips = 0;
  let largest = 0;
  for (let offset = 0; offset < file.device.size; trips++) {
    const { size } = file.read({ offset, size: 128 * KiB });
    largest = Math.max(largest, size);
    offset += size;
  }
  assert.equal(largest, FETCH_SIZE_MAX + 1 * MiB);
  assert.ok(trips < 25, `${trips} trips`);
});

test('read around: pages here and there bring no more than their surroundings', () => {
  for (const chunkSize of [4 * KiB, 64 * KiB, 1 * MiB]) {
    const file = new Chunks(times((256 * MiB) / chunkSize, chunkSize));
    let state = 12345;
    for (let read = 0; read < 50; read++) {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      const { size } = rangeAround(file, { offset: (state % 65536) * 4 * KiB, size: 4 * KiB });
      assert.ok(size <= 256 * KiB + chunkSize + 1 * MiB);
    }
  }
});

test('read around: at the ends of a device there is less', () => {
  const file = new Chunks([1000, 5000, 10]);
  assert.deepEqual(file.read({ offset: 0, size: 4096 }), { offset: 0, size: 4096 + 8192 + 10 });
  assert.deepEqual(new Chunks([1000]).read({ offset: 0, size: 4096 }), { offset: 0, size: 1000 });
});
