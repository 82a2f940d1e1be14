import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeDirectories } from '../../../src/store/directories.ts';

const top = mkdtempSync(join(tmpdir(), 'naiad-directories-'));
after(() => rmSync(top, { recursive: true }));

test('makeDirectories: makes what is missing and tells where that begins', async () => {
  assert.equal(await makeDirectories(join(top, 'a', 'b', 'c')), join(top, 'a'));
  assert.ok(statSync(join(top, 'a', 'b', 'c')).isDirectory());
  assert.equal(await makeDirectories(join(top, 'a', 'b')), undefined);
});

test('makeDirectories: what is in the way is an error', async () => {
  writeFileSync(join(top, 'file'), '');
  await assert.rejects(makeDirectories(join(top, 'file')), { code: 'TARGET_EXISTS' });
  await assert.rejects(makeDirectories(join(top, 'file', 'x')), { code: 'PATH_NOT_FOUND' });
});

test('makeDirectories: a file system that makes none is an error, not an endless loop', async () => {
  await assert.rejects(makeDirectories('/proc/naiad-nothing/x'), { code: 'PATH_NOT_FOUND' });
});
