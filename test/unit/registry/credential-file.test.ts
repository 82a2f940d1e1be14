// Writing to the files of docker and podman: what is theirs stays, and nobody else can read it.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { eraseEntry, storeEntry } from '../../../src/registry/credential-file.ts';
import { parseLoginPlace } from '../../../src/registry/login.ts';
import { temporaryDir } from '../../support/temporary.ts';

const read = (path: string) => JSON.parse(readFileSync(path, 'utf8'));
const account = { user: 'u', password: 'p:w' };
const auth = Buffer.from('u:p:w').toString('base64');

test('credential file: made where it is missing, for its owner alone', async () => {
  using dir = temporaryDir();
  const path = join(dir.path, 'a', 'b', 'config.json');
  await storeEntry(path, 'h.x', account);
  assert.deepEqual(read(path), { auths: { 'h.x': { auth } } });
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(statSync(join(dir.path, 'a')).mode & 0o777, 0o700);
});

test('credential file: other entries and keys stay, another spelling goes, a wide mode ends', async () => {
  using dir = temporaryDir();
  const path = join(dir.path, 'config.json');
  writeFileSync(path, JSON.stringify({ detachKeys: 'ctrl-e', auths: { 'https://h.x/v2/': { auth: 'x' }, 'i.x': {} } }));
  chmodSync(path, 0o644);
  await storeEntry(path, 'h.x', account);
  assert.deepEqual(read(path), { detachKeys: 'ctrl-e', auths: { 'i.x': {}, 'h.x': { auth } } });
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(await eraseEntry(path, 'https://h.x'), true);
  assert.equal(await eraseEntry(path, 'h.x'), false);
  assert.deepEqual(read(path), { detachKeys: 'ctrl-e', auths: { 'i.x': {} } });
  assert.deepEqual(readdirSync(dir.path), ['config.json']);
});

test('credential file: a link stays a link', async () => {
  using dir = temporaryDir();
  const [real, link] = [join(dir.path, 'real', 'config.json'), join(dir.path, 'config.json')];
  mkdirSync(join(dir.path, 'real'));
  writeFileSync(real, '{}');
  symlinkSync(real, link);
  await storeEntry(link, 'h.x', { ...account, kind: 'identity-token' });
  assert.equal(read(real).auths['h.x'].identitytoken, 'p:w');
  assert.deepEqual(readdirSync(dir.path).sort(), ['config.json', 'real']);
});

test('credential file: one that is broken is not overwritten', async () => {
  using dir = temporaryDir();
  const path = join(dir.path, 'config.json');
  writeFileSync(path, '{"auths": ');
  await assert.rejects(storeEntry(path, 'h.x', account), { code: 'CREDENTIALS_INVALID' });
  assert.equal(readFileSync(path, 'utf8'), '{"auths": ');
});

for (const [text, host, path] of [
  ['registry.example', 'registry.example', ''],
  ['https://registry.example:5000/v2/', 'registry.example:5000', ''],
  ['registry.example/a/b', 'registry.example', 'a/b'],
  ['index.docker.io', 'docker.io', ''],
  ['https://index.docker.io/v1/', 'docker.io', ''],
  ['[::1]:5000', '[::1]:5000', ''],
  ['localhost', 'localhost', ''],
] as const) {
  test(`login place: ${text}`, () => assert.deepEqual(parseLoginPlace(text), { host, path }));
}
for (const text of ['', 'a b', '-x', 'h.x//a', 'user@h.x', 'h.x:port']) {
  test(`login place: not ${JSON.stringify(text)}`, () => {
    assert.throws(() => parseLoginPlace(text), { code: 'USAGE' });
  });
}
