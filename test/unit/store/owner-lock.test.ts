// One owner of a directory at a time; a dead one's place is taken over.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { thisProcess } from '../../../src/base/process-identity.ts';
import { type OwnerLock, readOwner, takeOwnerLock } from '../../../src/store/owner-lock.ts';
import { temporaryDir } from '../../support/temporary.ts';

function taken(path: string): OwnerLock {
  const lock = takeOwnerLock(path);
  if ('owner' in lock) assert.fail(`process ${lock.owner.pid} has it`);
  return lock;
}

test('owner lock: a second one is told who has it; disposing gives it back', () => {
  using scratch = temporaryDir('lock');
  const path = join(scratch.path, 'state/lock');
  const lock = taken(path);
  assert.ok(lock.isHeld());
  assert.deepEqual(takeOwnerLock(path), { owner: thisProcess() });
  lock[Symbol.dispose]();
  assert.ok(!existsSync(path));
  taken(path);
  assert.deepEqual(readdirSync(join(scratch.path, 'state')), ['lock']);
});

for (const [name, text] of [
  ['a process that is gone', JSON.stringify({ ...thisProcess(), startTime: '1' })],
  ['a process of another boot', JSON.stringify({ ...thisProcess(), machine: '00000000' })],
  ['nobody who can be read', '{"pid":'],
] as const) {
  test(`owner lock: that of ${name} is taken over`, () => {
    using scratch = temporaryDir('lock');
    const path = join(scratch.path, 'lock');
    writeFileSync(path, text);
    taken(path);
    assert.deepEqual(readOwner(path), thisProcess());
  });
}

test('owner lock: whose file is gone has lost it, and takes nothing from the next one', () => {
  using scratch = temporaryDir('lock');
  const path = join(scratch.path, 'lock');
  const lock = taken(path);
  rmSync(path);
  assert.ok(!lock.isHeld());
  writeFileSync(path, JSON.stringify({ ...thisProcess(), pid: 1, startTime: '1' }));
  lock[Symbol.dispose]();
  assert.equal(readOwner(path)?.pid, 1);
});
