// Blobs through Dragonfly: as a proxy and as a mirror, with the registry behind both when the daemon is of no use.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { CredentialSource } from '../../src/registry/credentials.ts';
import { registryReader } from '../../src/registry/reader.ts';
import { Registry, type RegistryOptions } from '../../src/registry/transport.ts';
import { startRegistry } from '../../src/registry-server/start.ts';
import { copyReference } from '../../src/transport/copy.ts';
import { certificates } from '../support/certificates.ts';
import { type Dfdaemon, startDfdaemon, type Trouble } from '../support/dfdaemon.ts';
import { NAIAD, naiadHome } from '../support/naiad.ts';
import { addon, every, fuse, root } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { bcrypt, dockerRegistry, startDockerRegistry } from '../support/servers.ts';
import { noise, smallImage, writeSmallLayout } from '../support/small-image.ts';
import { temporaryDir } from '../support/temporary.ts';
import { openssl } from '../support/token-server.ts';

const account = { user: 'someone', password: 'pass:word-5ecret' };
/** Known for the registry only, not for what it is behind. */
const known: CredentialSource = async ({ host }) => ({
  credentials: host === 'registry.test' ? { ...account, source: '/auth.json' } : undefined,
  looked: [],
});
const content = noise(300_000);
const { signal } = new AbortController();

/** A registry with an image of one layer, `a:v1`, and a daemon. */
async function setUp() {
  const dir = temporaryDir('dragonfly');
  const image = await smallImage([{ large: content }]);
  writeSmallLayout(join(dir.path, 'layout'), image, 'v1');
  const origin = await startRegistry({ root: join(dir.path, 'origin'), host: '127.0.0.1', port: 0 });
  await copyReference(`oci:${dir.path}/layout:v1`, `${origin.host}/a:v1`, {});
  const daemon = await startDfdaemon();
  const [layer] = image.layers;
  assert.ok(layer);
  const { descriptor, bytes } = layer;
  return {
    ...{ dir, origin, daemon, bytes, blob: { repository: 'a', ...descriptor } },
    async [Symbol.asyncDispose]() {
      await daemon[Symbol.asyncDispose]();
      await origin.close();
      dir[Symbol.dispose]();
    },
  };
}

const asked = ({ asked: all }: Dfdaemon) => all.map(({ method, way, p2p }) => `${method} ${way}${p2p ? ' p2p' : ''}`);

/** The bytes of a range, by one attempt. */
async function read(registry: Registry, blob: Parameters<typeof registryReader>[1], offset: number, hint = {}) {
  const reader = registryReader(registry, blob);
  assert.ok(reader.open);
  const stream = await reader.open({ offset, size: 1000 }, signal, hint);
  assert.equal(stream.offset, offset);
  const pieces: Uint8Array[] = [];
  for await (const piece of stream.pieces) pieces.push(piece);
  return Buffer.concat(pieces);
}

test('dragonfly: blobs are asked of it by their whole address, told how urgent they are; all else is not', async () => {
  await using place = await setUp();
  const { daemon, origin, blob, bytes, dir } = place;
  const registry: RegistryOptions = { dragonfly: daemon.url };
  await using open = new Registry(origin.host, registry);
  assert.deepEqual(await read(open, blob, 500), bytes.subarray(500, 1500));
  assert.deepEqual(await read(open, blob, 700, { background: true }), bytes.subarray(700, 1700));
  assert.deepEqual(await read(open, blob, 900, { fromOrigin: true }), bytes.subarray(900, 1900));
  assert.deepEqual(
    daemon.asked.map(({ way, p2p, headers }) => [way, p2p, headers['x-dragonfly-priority']]),
    [
      ['proxy', true, '6'],
      ['proxy', true, '3'],
    ],
  );
  assert.equal(daemon.asked[0]?.url, `${origin.url}/v2/a/blobs/${blob.digest}`);
  daemon.asked.length = 0;
  await copyReference(`${origin.host}/a:v1`, `oci:${dir.path}/out:v1`, {}, {}, { source: { registry } });
  assert.deepEqual(asked(daemon), ['GET proxy p2p', 'GET proxy p2p']);
  await copyReference(`oci:${dir.path}/out:v1`, `${origin.host}/b:v1`, {}, {}, { target: { registry } });
  assert.equal(daemon.asked.length, 2);
});

test(
  'dragonfly: a registry with TLS and passwords, without a tunnel',
  every(dockerRegistry(), bcrypt(), openssl()),
  async () => {
    await using place = await setUp();
    const { daemon, dir, blob, bytes } = place;
    const { authority, server } = certificates(dir.path);
    await using origin = await startDockerRegistry({ account, tls: server });
    const certsDir = join(dir.path, 'certs.d');
    mkdirSync(join(certsDir, 'registry.test'), { recursive: true });
    writeFileSync(join(certsDir, 'registry.test', 'hosts.toml'), `server = "${origin.url}"\nca = "${authority}"\n`);
    const registry: RegistryOptions = { certsDir, credentials: known, dragonfly: daemon.url };
    await copyReference(`oci:${dir.path}/layout:v1`, 'registry.test/a:v1', {}, {}, { target: { registry } });
    await using open = new Registry('registry.test', registry);
    for (const offset of [0, 2000])
      assert.deepEqual(await read(open, blob, offset), bytes.subarray(offset, offset + 1000));
    // The first is refused without credentials, which the registry is then asked about.
    assert.deepEqual(asked(daemon), ['GET proxy p2p', 'GET proxy p2p', 'GET proxy p2p']);
    assert.match(String(daemon.asked[1]?.headers.authorization), /^Basic /);
  },
);

const TROUBLES: readonly Trouble[] = ['busy', 'blocked', 'broken', 'old'];
for (const trouble of TROUBLES) {
  test(`dragonfly: when it is "${trouble}" the registry answers, and it is left alone for a while`, async () => {
    await using place = await setUp();
    const { daemon, origin, blob, bytes } = place;
    daemon.trouble = trouble;
    await using open = new Registry(origin.host, { dragonfly: daemon.url });
    for (const offset of [0, 2000])
      assert.deepEqual(await read(open, blob, offset), bytes.subarray(offset, offset + 1000));
    assert.equal(daemon.asked.length, 1);
    assert.equal(open.stats.retries, 0);
  });
}

test('dragonfly: a daemon that is away costs nothing', async () => {
  await using place = await setUp();
  const { daemon, origin, blob, bytes } = place;
  await daemon[Symbol.asyncDispose]();
  await using open = new Registry(origin.host, { dragonfly: daemon.url });
  assert.deepEqual(await read(open, blob, 5), bytes.subarray(5, 1005));
});

test('dragonfly: an answer that breaks off is gone on with by the registry', async () => {
  await using place = await setUp();
  const { daemon, origin, dir } = place;
  daemon.trouble = 'cut';
  const registry: RegistryOptions = { dragonfly: daemon.url, retryDelayMs: 1 };
  await copyReference(`${origin.host}/a:v1`, `oci:${dir.path}/out:v1`, {}, {}, { source: { registry } });
  assert.ok(daemon.asked.length <= 2, `${daemon.asked.length} requests`);
});

test('dragonfly: what the registry refuses is its answer, and no trouble of the daemon', async () => {
  await using place = await setUp();
  const { daemon, origin, blob } = place;
  await using open = new Registry(origin.host, { dragonfly: daemon.url });
  const missing = { ...blob, digest: `sha256:${'0'.repeat(64)}` };
  await assert.rejects(read(open, missing, 0), { code: 'BLOB_NOT_FOUND' });
  await read(open, blob, 0);
  assert.deepEqual(asked(daemon), ['GET proxy p2p', 'GET proxy p2p']);
});

test('dragonfly: as a mirror in hosts.toml it is told the same, and passes on the registry’s passwords', {
  ...every(dockerRegistry(), bcrypt()),
}, async () => {
  await using place = await setUp();
  const { daemon, dir, blob, bytes } = place;
  await using origin = await startDockerRegistry({ account });
  const certsDir = join(dir.path, 'certs.d');
  mkdirSync(join(certsDir, 'registry.test'), { recursive: true });
  writeFileSync(
    join(certsDir, 'registry.test', 'hosts.toml'),
    [
      `server = "${origin.url}"`,
      `[host."${daemon.url}"]`,
      '  capabilities = ["pull", "resolve"]',
      `  [host."${daemon.url}".header]`,
      `    X-Dragonfly-Registry = "${origin.url}"`,
    ].join('\n'),
  );
  const registry: RegistryOptions = { certsDir, credentials: known };
  const opening = { source: { registry }, target: { registry } };
  await copyReference(`oci:${dir.path}/layout:v1`, 'registry.test/a:v1', {}, {}, opening);
  daemon.asked.length = 0;
  await copyReference('registry.test/a:v1', `oci:${dir.path}/out:v1`, {}, {}, opening);
  const kinds = new Set(asked(daemon));
  assert.deepEqual([...kinds].sort(), ['GET mirror', 'GET mirror p2p']);
  assert.ok(daemon.asked.every(({ p2p, url }) => p2p === url.includes('/blobs/')));
  await using open = new Registry('registry.test', registry);
  await read(open, blob, 0, { background: true });
  assert.equal(daemon.asked.at(-1)?.headers['x-dragonfly-priority'], '3');
  daemon.trouble = 'broken';
  assert.deepEqual(await read(open, blob, 10), bytes.subarray(10, 1010));
});

test('dragonfly: an address elsewhere is refused, because credentials go there', async () => {
  for (const address of ['http://10.0.0.1:4001', 'https://127.0.0.1:4001', 'http://user:secret@127.0.0.1:4001', 'x']) {
    const { stderr } = await runTool(process.execPath, [NAIAD, 'tags', '--dragonfly', address, '127.0.0.1:1/a'], {
      okay: [2],
    });
    assert.match(stderr, /error\[CONFIG_INVALID\].*Dragonfly/);
    assert.doesNotMatch(stderr, /secret/);
  }
});

test('dragonfly: doctor says whether it is there', async () => {
  await using place = await setUp();
  const { daemon, origin } = place;
  const check = async () => {
    const words = ['doctor', '--json', '--dragonfly', daemon.url, `${origin.host}/a:v1`];
    const { stdout } = await runTool(process.execPath, [NAIAD, ...words], { okay: [0, 1] });
    return JSON.parse(stdout).find(({ name }: { name: string }) => name === 'dragonfly').status;
  };
  assert.equal(await check(), 'ok');
  await daemon[Symbol.asyncDispose]();
  assert.equal(await check(), 'warn');
});

test('dragonfly: a mount reads through it, and is right when the daemon is not', {
  ...every(root(), addon(), fuse()),
}, async () => {
  await using place = await setUp();
  const { daemon, origin, dir } = place;
  await using naiad = naiadHome(dir.path);
  await naiad.run(['convert', '--quiet', '--chunk-size', '64KiB', `${origin.host}/a:v1`, `${origin.host}/a:naiad`]);
  const directory = join(dir.path, 'mnt');
  mkdirSync(directory);
  for (const trouble of [undefined, 'cut', 'wrong'] as const) {
    daemon.trouble = trouble;
    daemon.asked.length = 0;
    const options = ['--dragonfly', daemon.url, '--cache', join(dir.path, `cache-${trouble}`), '--prefetch', 'all'];
    await using _mounted = await naiad.mount(`${origin.host}/a:naiad`, directory, ...options);
    // Not at once: the servers it comes from are in this process.
    assert.deepEqual(await readFile(join(directory, 'large')), content);
    assert.ok(daemon.asked.length > 0);
    assert.ok(daemon.asked.every(({ p2p, way }) => p2p && way === 'proxy'));
  }
});
