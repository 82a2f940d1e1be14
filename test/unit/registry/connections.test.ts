// Who shares connections with whom: those who reach a registry in the same way, with the same credentials, and nobody else.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Connections, identityOf } from '../../../src/registry/connections.ts';
import { temporaryDir } from '../../support/temporary.ts';

test('connections: shared by host, way and identity; let go of with the last user', async () => {
  const connections = new Connections();
  const certsDir = '/nowhere';
  const lease = (identity: string, host = 'a.test', plainHttp = false) =>
    connections.lease(host, { certsDir, plainHttp }, identity);
  const [first, second] = await Promise.all([lease('me'), lease('me')]);
  assert.equal(first.routing, second.routing);
  const others = [await lease('you'), await lease('me', 'b.test'), await lease('me', 'a.test', true)];
  for (const { routing } of others) assert.notEqual(routing, first.routing);
  assert.equal(connections.size, 4);
  await first[Symbol.asyncDispose]();
  const third = await lease('me');
  assert.equal(third.routing, second.routing);
  for (const one of [second, third, ...others]) await one[Symbol.asyncDispose]();
  assert.equal(connections.size, 0);
});

test('connections: a hosts.toml that was changed counts for those who come after', async () => {
  using directory = temporaryDir('connections');
  const file = join(directory.path, 'a.test', 'hosts.toml');
  mkdirSync(join(directory.path, 'a.test'));
  const connections = new Connections();
  const lease = async (mirror: string) => {
    writeFileSync(file, `[host."https://${mirror}"]\n`);
    return await connections.lease('a.test', { certsDir: directory.path }, 'me');
  };
  await using before = await lease('one.test');
  await using after = await lease('two.test');
  await using again = await lease('one.test');
  assert.equal(again.routing, before.routing);
  const first = ({ routing }: typeof before) => routing.endpoints[0]?.url.host;
  assert.deepEqual([before, after].map(first), ['one.test', 'two.test']);
  writeFileSync(file, 'no toml');
  await assert.rejects(connections.lease('a.test', { certsDir: directory.path }, 'me'), { code: 'CONFIG_INVALID' });
  assert.equal(connections.size, 2);
});

test('connections: an identity is all of the environment but what says nothing of credentials', () => {
  const env = { HOME: '/root', AWS_PROFILE: 'a', PWD: '/x', SHLVL: '1' };
  assert.equal(identityOf(env), identityOf({ SHLVL: '2', PWD: '/y', AWS_PROFILE: 'a', HOME: '/root' }));
  for (const other of [
    { ...env, AWS_PROFILE: 'b' },
    { ...env, HOME: '/home/me' },
    { ...env, DOCKER_CONFIG: '/c' },
  ]) {
    assert.notEqual(identityOf(env), identityOf(other));
  }
});
