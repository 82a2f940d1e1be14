import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { writeFully, writeFullySync } from '../../../src/base/write-fully.ts';
import { temporaryDir } from '../../support/temporary.ts';

let scratch: ReturnType<typeof temporaryDir>;
before(() => {
  scratch = temporaryDir('write-fully');
});
after(() => scratch[Symbol.dispose]());

const bytes = Buffer.from('0123456789');

/** The file, as a system that takes `most` bytes of a write; `calls` counts. */
function taking(file: FileHandle, most: number) {
  const state = { calls: 0 };
  const write = (from: Uint8Array, offset: number, length: number, position: number | null) => {
    state.calls++;
    return file.write(from, offset, Math.min(length, most), position);
  };
  return Object.assign(state, { file: { write } as unknown as FileHandle });
}

test('what the system takes in parts is written whole, where it belongs', async () => {
  const path = join(scratch.path, 'parts');
  await using file = await open(path, 'w');
  const slow = taking(file, 3);
  await writeFully(slow.file, bytes, 4);
  assert.equal(slow.calls, 4);
  await writeFully(file, Buffer.from('ab'), 0);
  assert.equal(readFileSync(path, 'latin1'), 'ab\0\x000123456789');
});

test('without a position bytes go on where the file stands', async () => {
  const path = join(scratch.path, 'append');
  await using file = await open(path, 'w');
  await writeFully(file, Buffer.from('>'), null);
  await writeFully(taking(file, 3).file, bytes, null);
  assert.equal(readFileSync(path, 'latin1'), '>0123456789');
});

test('without leaving the thread', async () => {
  const path = join(scratch.path, 'sync');
  await using file = await open(path, 'w');
  writeFullySync(file.fd, bytes, 2);
  assert.equal(readFileSync(path, 'latin1'), '\0\x000123456789');
});

test('what the system refuses arrives as it came', {
  skip: process.platform !== 'linux' && 'needs /dev/full',
}, async () => {
  await using file = await open('/dev/full', 'w');
  await assert.rejects(writeFully(file, bytes, 0), { code: 'ENOSPC' });
  assert.throws(() => writeFullySync(file.fd, bytes, 0), { code: 'ENOSPC' });
});
