import assert from 'node:assert/strict';
import { closeSync, fstatSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { NaiadError } from '../../../src/base/errors.ts';
import {
  closeDescriptors,
  connectUnix,
  receiveDescriptors,
  sendDescriptors,
  socketPair,
} from '../../../src/native/descriptors.ts';
import { addon } from '../../support/requires.ts';
import { temporaryDir } from '../../support/temporary.ts';

const needs = addon();
const LIMITS = { sizeMax: 64, timeoutMs: 60_000 };

test('descriptors: arrive as the same open files, close-on-exec, in order', { ...needs }, async () => {
  using scratch = temporaryDir('descriptors');
  const files = ['a', 'b'].map((name) => join(scratch.path, name));
  for (const path of files) writeFileSync(path, path);
  const sent = files.map((path) => openSync(path, 'r'));
  const [near, far] = socketPair();
  sendDescriptors(near, Buffer.from('two'), sent);
  const { bytes, descriptors } = await receiveDescriptors(far, LIMITS);
  assert.equal(bytes.toString(), 'two');
  assert.deepEqual(
    descriptors.map((fd) => fstatSync(fd).ino),
    sent.map((fd) => fstatSync(fd).ino),
  );
  for (const fd of descriptors) {
    assert.match(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'), /^flags:\s*0?2/m);
  }
  const first = Buffer.alloc(1);
  readSync(descriptors[0] as number, first, 0, 1, null);
  readSync(sent[0] as number, first, 0, 1, null);
  assert.equal(first.toString(), (files[0] as string)[1], 'the position is shared');
  closeDescriptors([...sent, ...descriptors, near, far]);
});

test('descriptors: a message without any, and the end', { ...needs }, async () => {
  const [near, far] = socketPair();
  sendDescriptors(near, Buffer.from('x'), []);
  assert.deepEqual(await receiveDescriptors(far, LIMITS), { bytes: Buffer.from('x'), descriptors: [] });
  closeSync(near);
  assert.equal((await receiveDescriptors(far, LIMITS)).bytes.length, 0);
  assert.throws(() => sendDescriptors(far, Buffer.from('x'), []), NaiadError, 'and no SIGPIPE');
  closeSync(far);
});

test('descriptors: waiting ends', { ...needs }, async () => {
  const [near, far] = socketPair();
  await assert.rejects(receiveDescriptors(far, { sizeMax: 1, timeoutMs: 20 }), /ETIMEDOUT/);
  closeDescriptors([near, far]);
});

for (const { name, bytes, descriptors } of [
  { name: 'no byte', bytes: 0, descriptors: [] },
  { name: 'too many descriptors', bytes: 1, descriptors: Array.from({ length: 254 }, () => 0) },
  { name: 'a closed one', bytes: 1, descriptors: [1_000_000] },
]) {
  test(`descriptors: ${name} is an error`, { ...needs }, () => {
    const [near, far] = socketPair();
    assert.throws(() => sendDescriptors(near, Buffer.alloc(bytes), descriptors), NaiadError);
    closeDescriptors([near, far]);
  });
}

test('descriptors: a wrong argument is a TypeError', { ...needs }, () => {
  for (const wrong of [[-1], [1.5], ['1'], 1]) {
    assert.throws(() => sendDescriptors(0, Buffer.alloc(1), wrong as number[]), TypeError);
  }
});

test('descriptors: connecting to a socket by its path', { ...needs }, async () => {
  using scratch = temporaryDir('descriptors');
  const path = join(scratch.path, 's');
  const server = createServer((socket) => socket.end('hello'));
  await new Promise<void>((done) => server.listen(path, done));
  const fd = connectUnix(path);
  assert.equal((await receiveDescriptors(fd, LIMITS)).bytes.toString(), 'hello');
  closeSync(fd);
  server.close();
  assert.throws(() => connectUnix(join(scratch.path, 'none')), /ENOENT/);
  assert.throws(() => connectUnix(`/${'x'.repeat(200)}`), /ENAMETOOLONG/);
});
