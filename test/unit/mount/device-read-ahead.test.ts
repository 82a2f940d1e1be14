// When reads of a device count as going on where earlier ones ended.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FETCH_SIZE_MAX } from '../../../src/base/limits.ts';
import { alignUp, KiB, MiB } from '../../../src/base/units.ts';
import { ChunkTable } from '../../../src/image/chunk-table.ts';
import { DeviceReadAhead } from '../../../src/mount/device-read-ahead.ts';

/** Of a device that holds files of such sizes, one behind the other. */
function readAheadOf(chunkSize: number, files: readonly number[]): DeviceReadAhead {
  const chunks = new ChunkTable();
  let uncompressedOffset = 0;
  for (const size of files) {
    for (let left = size; left > 0; left -= chunkSize) {
      const uncompressedSize = Math.min(chunkSize, left);
      const stored = { compressedOffset: 0, compressedSize: uncompressedSize, compressed: false, crc32: 0 };
      chunks.add({ uncompressedOffset, uncompressedSize, ...stored }, new Uint8Array(32));
      uncompressedOffset += alignUp(uncompressedSize, 4 * KiB);
    }
  }
  return new DeviceReadAhead(chunks, chunkSize);
}

test('read-ahead of a device: a stream widens from one read to the limit', () => {
  const readAhead = readAheadOf(64 * KiB, [64 * MiB]);
  const windows: number[] = [];
  for (let offset = 0; offset < 40 * MiB; ) {
    const window = readAhead.afterMiss(offset, 1 * MiB);
    windows.push(window);
    offset += 1 * MiB + window; // What was fetched ahead is no miss.
  }
  assert.deepEqual(
    windows.slice(0, 6),
    [0, 1, 2, 4, 8, 8].map((size) => size * MiB),
  );
  assert.equal(Math.max(...windows), FETCH_SIZE_MAX);
});

test('read-ahead of a device: reads of one stream may come in another order', () => {
  const readAhead = readAheadOf(64 * KiB, [64 * MiB]);
  const offsets = [0, 256, 128, 384, 640, 512].map((at) => at * KiB);
  const windows = offsets.map((offset) => readAhead.afterMiss(offset, 128 * KiB) > 0);
  // What comes late lies where was fetched ahead already.
  assert.deepEqual(windows, [false, true, false, true, true, false]);
});

test('read-ahead of a device: several readers of the same place are no stream', () => {
  const readAhead = readAheadOf(1 * MiB, [64 * MiB]);
  for (let reader = 0; reader < 20; reader++) assert.equal(readAhead.afterMiss(16 * MiB, 16 * KiB), 0);
  assert.equal(readAhead.afterMiss(17 * MiB, 16 * KiB), 1 * MiB, 'one of them goes on');
  for (let reader = 1; reader < 20; reader++) assert.equal(readAhead.afterMiss(17 * MiB, 16 * KiB), 0);
});

test('read-ahead of a device: ends with the file, and begins anew with the next', () => {
  const readAhead = readAheadOf(1 * MiB, [3.5 * MiB, 8 * MiB]);
  assert.equal(readAhead.afterMiss(0, 128 * KiB), 0);
  assert.equal(readAhead.afterMiss(1 * MiB, 128 * KiB), 1 * MiB);
  assert.equal(readAhead.afterMiss(3 * MiB, 128 * KiB), 0.375 * MiB, 'two megabytes would be two files');
  assert.equal(readAhead.afterMiss(3.5 * MiB, 128 * KiB), 0);
  assert.equal(readAhead.afterMiss(4.5 * MiB, 128 * KiB), 1 * MiB);
});

test('read-ahead of a device: small files are fetched ahead once many were read one behind the other', () => {
  const files = Array.from({ length: 4000 }, (_, index) => 1000 + 13 * (index % 500));
  const readAhead = readAheadOf(1 * MiB, files);
  const windows: number[] = [];
  for (let offset = 0; offset < 8 * MiB; ) {
    const window = readAhead.afterMiss(offset, 4 * KiB);
    windows.push(window);
    offset = alignUp(offset + 4 * KiB + window, 8 * KiB);
  }
  assert.deepEqual(windows.slice(0, 4), [0, 0, 0, 0]);
  assert.ok(windows.length < 12, `${windows.length} misses in 8 MiB`);
});

test('read-ahead of a device: single pages here and there are no stream, however many and close', () => {
  for (const chunkSize of [4 * KiB, 64 * KiB]) {
    const readAhead = readAheadOf(chunkSize, [64 * MiB]);
    let state = 12345;
    let fetched = 0;
    for (let read = 0; read < 2000; read++) {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      fetched += readAhead.afterMiss((state % 16384) * 4 * KiB, 4 * KiB);
    }
    // A few neighbours meet by chance; a span of megabytes would make nearly all of them one.
    assert.ok(fetched < 2000 * chunkSize, `${fetched} bytes ahead`);
  }
});

test('read-ahead of a device: several streams are followed side by side', () => {
  const readAhead = readAheadOf(1 * MiB, [1024 * MiB]);
  const starts = Array.from({ length: 16 }, (_, index) => index * 64 * MiB);
  for (const start of starts) assert.equal(readAhead.afterMiss(start, 128 * KiB), 0);
  for (const start of starts) assert.equal(readAhead.afterMiss(start + 1 * MiB, 128 * KiB), 1 * MiB);
});
