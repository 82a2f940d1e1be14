// When reads of a device count as going on where earlier ones ended.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FETCH_SIZE_MAX } from '../../../src/base/limits.ts';
import { KiB, MiB } from '../../../src/base/units.ts';
import { DeviceReadAhead } from '../../../src/mount/device-read-ahead.ts';

test('read-ahead of a device: a stream widens from one read to the limit', () => {
  const readAhead = new DeviceReadAhead(64 * KiB);
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
  const readAhead = new DeviceReadAhead(64 * KiB);
  const offsets = [0, 256, 128, 384, 640, 512].map((at) => at * KiB);
  const windows = offsets.map((offset) => readAhead.afterMiss(offset, 128 * KiB) > 0);
  // What comes late lies before what was fetched ahead already.
  assert.deepEqual(windows, [false, true, false, true, true, false]);
});

test('read-ahead of a device: several readers of the same place are no stream', () => {
  const readAhead = new DeviceReadAhead(1 * MiB);
  for (let reader = 0; reader < 20; reader++) assert.equal(readAhead.afterMiss(16 * MiB, 16 * KiB), 0);
  assert.equal(readAhead.afterMiss(17 * MiB, 16 * KiB), 1 * MiB, 'one of them goes on');
  for (let reader = 1; reader < 20; reader++) assert.equal(readAhead.afterMiss(17 * MiB, 16 * KiB), 0);
});

test('read-ahead of a device: single pages here and there are no stream, however many and close', () => {
  for (const chunkSize of [4 * KiB, 64 * KiB]) {
    const readAhead = new DeviceReadAhead(chunkSize);
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
  const readAhead = new DeviceReadAhead(1 * MiB);
  const starts = Array.from({ length: 16 }, (_, index) => index * 64 * MiB);
  for (const start of starts) assert.equal(readAhead.afterMiss(start, 128 * KiB), 0);
  for (const start of starts) assert.equal(readAhead.afterMiss(start + 1 * MiB, 128 * KiB), 1 * MiB);
});
