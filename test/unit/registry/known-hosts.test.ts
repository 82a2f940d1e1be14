import assert from 'node:assert/strict';
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { KNOWN_HOST_AGE_MAX_MS } from '../../../src/base/limits.ts';
import { habitsOf, KnownHosts } from '../../../src/registry/known-hosts.ts';
import type { RegistryProbe } from '../../../src/registry/probe.ts';
import { temporaryDir } from '../../support/temporary.ts';

const HOST = 'registry.test:5000';
const habits = { way: 'chunks', chunkSize: 2 ** 20 } as const;
const manifest = { mediaType: 'x', digest: 'sha256:0', digestHeader: true };
const probe = { registry: HOST, repository: 'a', manifest } as RegistryProbe;

test('known hosts: one thing after another is learned, for its owner alone', async () => {
  using dir = temporaryDir('known');
  const path = join(dir.path, 'a/b');
  const hosts = new KnownHosts(path, () => 1000);
  assert.equal(await hosts.read(HOST), undefined);
  await hosts.learn(HOST, { habits });
  await hosts.learn(HOST, { probe });
  assert.deepEqual(await new KnownHosts(path, () => 1000).read(HOST), { learnedAt: 1000, habits, probe });
  assert.equal(await hosts.read('other.test'), undefined);
  assert.deepEqual(readdirSync(path), ['registry.test%3A5000.json']);
  assert.equal(statSync(join(path, 'registry.test%3A5000.json')).mode & 0o777, 0o600);
});

test('known hosts: believed for a while, and never from the future', async () => {
  using dir = temporaryDir('known');
  let now = 1_000_000;
  const hosts = new KnownHosts(dir.path, () => now);
  await hosts.learn(HOST, { habits });
  now += KNOWN_HOST_AGE_MAX_MS - 1;
  assert.deepEqual((await hosts.read(HOST))?.habits, habits);
  now++;
  assert.equal(await hosts.read(HOST), undefined);
  now = 999_999;
  assert.equal(await hosts.read(HOST), undefined);
});

for (const [what, text] of [
  ['no JSON', '{'],
  ['no object', 'null'],
  ['no time', '{}'],
  ['an unknown way', '{"learnedAt":1,"habits":{"way":"pigeon","chunkSize":1048576}}'],
  ['chunks of nothing', '{"learnedAt":1,"habits":{"way":"chunks","chunkSize":0}}'],
  ['chunks as large as memory', '{"learnedAt":1,"habits":{"way":"chunks","chunkSize":99999999999}}'],
  ['half a probe', '{"learnedAt":1,"probe":{}}'],
  ['more than anyone writes', `{"learnedAt":1,"x":"${'x'.repeat(70_000)}"}`],
] as const) {
  test(`known hosts: a file with ${what} is as good as none`, async () => {
    using dir = temporaryDir('known');
    const hosts = new KnownHosts(dir.path, () => 2);
    writeFileSync(join(dir.path, 'registry.test%3A5000.json'), text);
    assert.equal(await hosts.read(HOST), undefined);
    await hosts.learn(HOST, { habits });
    assert.deepEqual(await hosts.read(HOST), { learnedAt: 2, habits, probe: undefined });
  });
}

test('known hosts: where nothing can be written, nothing is learned', async () => {
  using dir = temporaryDir('known');
  writeFileSync(join(dir.path, 'file'), '');
  const hosts = new KnownHosts(join(dir.path, 'file/below'));
  await hosts.learn(HOST, { habits });
  assert.equal(await hosts.read(HOST), undefined);
});

test('known hosts: the way to upload that a probe found', () => {
  const [yes, no] = [{ works: true }, { works: false }];
  const way = (put: object, stream: object, chunks: object) =>
    habitsOf({ ...probe, push: { put, stream, chunks } } as unknown as RegistryProbe)?.way;
  assert.equal(habitsOf(probe), undefined);
  assert.equal(way(yes, no, no), undefined);
  assert.equal(way(no, yes, yes), 'stream');
  assert.equal(way(no, no, yes), 'chunks');
  assert.equal(way(no, no, no), undefined);
});
