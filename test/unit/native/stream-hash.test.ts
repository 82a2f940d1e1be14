import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { loadAddon, type Sha256 } from '../../../src/native/load.ts';
import { createStreamHash } from '../../../src/native/stream-hash.ts';
import { addon } from '../../support/requires.ts';

const NATIVE = addon();

test('stream hash: pieces of any size, pushed or given at once, hash as Node does', NATIVE, async () => {
  const bytes = randomBytes(3_000_000);
  const sizes = [0, 1, 63, 64, 65, 32 * 1024 - 1, 32 * 1024, 1_000_000, 500_001];
  const hash = createStreamHash();
  let at = 0;
  for (const [index, size] of sizes.entries()) {
    await hash.settled();
    const piece = bytes.subarray(at, at + size);
    if (index % 3 === 2) hash.update(piece);
    else hash.push(piece);
    at += size;
  }
  await hash.settled();
  assert.equal(hash.settled(), undefined);
  const soFar = hash.copy();
  hash.update(bytes.subarray(at));
  assert.deepEqual(hash.digest(), createHash('sha256').update(bytes).digest());
  assert.deepEqual(soFar.digest(), createHash('sha256').update(bytes.subarray(0, at)).digest());
});

test('stream hash: memory shared with other threads is hashed where it lies', NATIVE, async () => {
  const shared = new Uint8Array(new SharedArrayBuffer(100_000)).fill(7);
  const hash = createStreamHash();
  hash.push(shared.subarray(1, 90_001));
  await hash.settled();
  assert.deepEqual(hash.digest(), createHash('sha256').update(Buffer.alloc(90_000, 7)).digest());
});

test('sha256 of the addon: what is no hash, busy or used up is a TypeError, never a crash', NATIVE, async () => {
  const native = loadAddon();
  for (const wrong of [undefined, null, 1, 'a', {}, [1], new Uint16Array(2)]) {
    assert.throws(() => native.sha256Update(wrong as unknown as Sha256, Buffer.alloc(1)), TypeError);
    assert.throws(() => native.sha256Digest(wrong as unknown as Sha256), TypeError);
    assert.throws(() => native.sha256Update(native.sha256Start(), wrong as unknown as Uint8Array), TypeError);
  }
  const hash = native.sha256Start();
  const update = native.sha256UpdateAsync(hash, Buffer.alloc(1_000_000));
  assert.throws(() => native.sha256Update(hash, Buffer.alloc(1)), /busy/);
  assert.throws(() => native.sha256Digest(hash), /busy/);
  await update;
  native.sha256Digest(hash);
  assert.throws(() => native.sha256Digest(hash), /used up/);
});
