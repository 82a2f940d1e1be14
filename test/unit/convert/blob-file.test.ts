import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { MiB } from '../../../src/base/units.ts';
import { BlobFile, writeBlob } from '../../../src/convert/blob-file.ts';
import { root } from '../../support/requires.ts';
import { temporaryDir } from '../../support/temporary.ts';

const scratch = temporaryDir('blob-file');
after(() => scratch[Symbol.dispose]());

const bytes = randomBytes(4 * MiB + 4097);
/** Sizes of what is appended, one after another. */
const WAYS: readonly (readonly number[])[] = [
  [],
  [1],
  [MiB - 1],
  [MiB],
  [MiB + 1],
  [MiB - 1, 1, 1],
  [4096, 0, 2 * MiB, 5, MiB],
  [3 * MiB],
  [700, bytes.length - 700],
];

async function write(path: string, durable: boolean, sizes: readonly number[]): Promise<void> {
  await using file = await BlobFile.create(path, durable);
  let at = 0;
  for (const size of sizes) {
    // What was appended may be used for something else at once.
    const part = Uint8Array.from(bytes.subarray(at, at + size));
    await file.append(part);
    part.fill(0);
    at += size;
  }
  await file.finish();
}

for (const durable of [true, false]) {
  test(`a blob has the bytes it was given, ${durable ? 'past' : 'through'} the page cache`, async () => {
    for (const [index, sizes] of WAYS.entries()) {
      const path = join(scratch.path, `${durable}-${index}`);
      await write(path, durable, sizes);
      const size = sizes.reduce((sum, part) => sum + part, 0);
      assert.equal(statSync(path).size, size, `${sizes}`);
      assert.ok(readFileSync(path).equals(bytes.subarray(0, size)), `${sizes}`);
    }
  });
}

test('a file system without a way past its page cache takes a blob as well', root(), async () => {
  const directory = join(scratch.path, 'ramfs');
  mkdirSync(directory);
  execFileSync('mount', ['-t', 'ramfs', 'none', directory]);
  try {
    const path = join(directory, 'blob');
    await write(path, true, [bytes.length]);
    assert.ok(readFileSync(path).equals(bytes));
  } finally {
    execFileSync('umount', [directory]);
  }
});

test('a process that is given little of an address space writes a blob as well', () => {
  const path = join(scratch.path, 'narrow');
  const module = new URL('../../../src/convert/blob-file.js', import.meta.url);
  const script = `
    import { BlobFile } from ${JSON.stringify(module)};
    const file = await BlobFile.create(${JSON.stringify(path)}, true);
    await file.append(Buffer.alloc(${MiB + 1}, 7));
    await file.finish();`;
  const narrow = 'ulimit -v 6000000; exec "$0" --input-type=module --eval "$1"';
  execFileSync('sh', ['-c', narrow, process.execPath, script]);
  assert.ok(readFileSync(path).equals(Buffer.alloc(MiB + 1, 7)));
});

test('a file that is there already is not written over', async () => {
  const path = join(scratch.path, 'there');
  writeFileSync(path, 'mine');
  await assert.rejects(BlobFile.create(path, true), { code: 'EEXIST' });
  assert.equal(readFileSync(path, 'utf8'), 'mine');
});

test('a full disk says so', { skip: process.platform === 'linux' ? false : 'needs /dev/full' }, async () => {
  await using file = await open('/dev/full', 'w');
  await assert.rejects(writeBlob(file, Buffer.alloc(10), { path: '/dev/full', position: 0 }), {
    code: 'NO_SPACE',
    hint: /TMPDIR/,
  });
});
