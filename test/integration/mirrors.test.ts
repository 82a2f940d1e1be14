// Mirrors, certificates and proxies, as hosts.toml and the environment configure them.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { sha256Digest } from '../../src/format/oci/digest.ts';
import { getManifest } from '../../src/registry/manifests.ts';
import { registryReader } from '../../src/registry/reader.ts';
import { Registry, type RegistryOptions } from '../../src/registry/transport.ts';
import { startRegistry } from '../../src/registry-server/start.ts';
import { copyReference } from '../../src/transport/copy.ts';
import { type Certificates, certificates } from '../support/certificates.ts';
import { startDouble } from '../support/http-double.ts';
import { NAIAD } from '../support/naiad.ts';
import { every } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { dockerRegistry, startDockerRegistry } from '../support/servers.ts';
import { noise, smallImage, writeSmallLayout } from '../support/small-image.ts';
import { temporaryDir } from '../support/temporary.ts';
import { openssl } from '../support/token-server.ts';

/** A directory of hosts.toml files, by host. */
function certsDir(root: string, hosts: Record<string, string>): string {
  const directory = join(root, 'certs.d');
  for (const [host, text] of Object.entries(hosts)) {
    mkdirSync(join(directory, host), { recursive: true });
    writeFileSync(join(directory, host, 'hosts.toml'), text);
  }
  return directory;
}

/** Two embedded registries, of which the first mirrors `registry.test`, and the second is what it stands for. */
async function setUp(capabilities = '["pull", "resolve"]') {
  const dir = temporaryDir('mirrors');
  const image = await smallImage([{ a: noise(300_000) }]);
  writeSmallLayout(join(dir.path, 'layout'), image, 'v1');
  const start = async (name: string) => {
    const server = await startRegistry({ root: join(dir.path, name), host: '127.0.0.1', port: 0 });
    await copyReference(`oci:${dir.path}/layout:v1`, `${server.host}/a:v1`, {});
    return server;
  };
  const [mirror, origin] = [await start('mirror'), await start('origin')];
  const text = `server = "${origin.url}"\n[host."${mirror.url}"]\ncapabilities = ${capabilities}\n`;
  const options: RegistryOptions = { certsDir: certsDir(dir.path, { 'registry.test': text }), retryDelayMs: 1 };
  return {
    ...{ dir, image, mirror, origin, options },
    reads: () => ({ mirror: count(mirror), origin: count(origin) }),
    async [Symbol.asyncDispose]() {
      await mirror.close();
      await origin.close();
      dir[Symbol.dispose]();
    },
  };
}
const count = (server: Awaited<ReturnType<typeof startRegistry>>) => {
  const { manifest, blob } = server.stats().requests;
  return manifest + blob;
};
const name = { repository: 'a', selector: 'v1' };

test('mirrors: asked first, passed over when they fail, and pushes go past them', async () => {
  await using place = await setUp();
  await using registry = new Registry('registry.test', place.options);
  const start = place.reads();
  await getManifest(registry, name);
  assert.deepEqual(place.reads(), { mirror: start.mirror + 1, origin: start.origin });
  await copyReference(
    `oci:${place.dir.path}/layout:v1`,
    'registry.test/b:v1',
    {},
    {},
    { target: { registry: place.options } },
  );
  assert.equal(place.reads().mirror, start.mirror + 1);
  const [layer] = place.image.layers;
  assert.ok(layer);
  const reader = registryReader(registry, { repository: 'a', ...layer.descriptor });
  const before = place.reads();
  await place.mirror.close();
  assert.equal((await reader.readAt({ offset: 0, size: 100 })).length, 100);
  assert.equal((await reader.readAt({ offset: 100, size: 100 })).length, 100);
  assert.equal(place.reads().origin, before.origin + 2);
  assert.equal(registry.stats.retries, 0);
});

test('mirrors: one without "resolve" is not asked for tags', async () => {
  await using place = await setUp('["pull"]');
  await using registry = new Registry('registry.test', place.options);
  const start = place.reads();
  const { digest } = await getManifest(registry, name);
  assert.deepEqual(place.reads(), { mirror: start.mirror, origin: start.origin + 1 });
  await getManifest(registry, { repository: 'a', selector: digest });
  assert.deepEqual(place.reads(), { mirror: start.mirror + 1, origin: start.origin + 1 });
});

test('mirrors: told which registry is meant, with their path and headers; wrong bytes are fetched elsewhere', async () => {
  await using place = await setUp();
  await using double = await startDouble((_, response) => {
    response
      .writeHead(200, { 'content-type': 'application/vnd.oci.image.manifest.v1+json' })
      .end('{"schemaVersion":2}');
  });
  const text = `server = "${place.origin.url}"\n[host."${double.url}/some/path"]\noverride_path = true\nheader = { x-team = "blue" }\n`;
  const options = { ...place.options, certsDir: certsDir(place.dir.path, { 'registry.test': text }) };
  await using registry = new Registry('registry.test', options);
  const got = await getManifest(registry, { repository: 'a', selector: place.image.manifest.digest });
  assert.equal(got.digest, place.image.manifest.digest);
  assert.equal(double.asked[0]?.path, `/some/path/a/manifests/${place.image.manifest.digest}?ns=registry.test`);
  assert.equal(double.asked[0]?.headers['x-team'], 'blue');
});

test('mirrors: a file that is malformed ends the command, with its line', async () => {
  using dir = temporaryDir('mirrors');
  const certs = certsDir(dir.path, { 'h.x': '\n[host."https://m"]\ncapabilities = ["all"]' });
  const { stderr } = await runTool(process.execPath, [NAIAD, 'tags', '--certs-dir', certs, 'h.x/a'], { okay: [2] });
  assert.match(stderr, /error\[CONFIG_INVALID\]: .*h\.x\/hosts\.toml:3: "all" is none of/);
});

/** A layout to push, and commands that say what they think of the server's certificate. */
async function withTls(
  tls: (made: Certificates) => object,
  run: (of: {
    host: string;
    made: Certificates;
    naiad: (...args: string[]) => ReturnType<typeof runTool>;
    root: string;
  }) => Promise<void>,
) {
  using dir = temporaryDir('tls');
  const made = certificates(dir.path);
  writeSmallLayout(join(dir.path, 'layout'), await smallImage([{ a: 'tls' }]), 'v1');
  await using server = await startDockerRegistry({
    tls: { certificate: made.server.certificate, key: made.server.key, ...tls(made) },
  });
  const naiad = (...args: string[]) => runTool(process.execPath, [NAIAD, ...args], { okay: [0, 14] });
  await run({ host: server.host, made, naiad, root: dir.path });
}

test('tls: an own authority, by hosts.toml or by a file beside it', every(dockerRegistry(), openssl()), async () => {
  await withTls(
    () => ({}),
    async ({ host, made, naiad, root }) => {
      const copy = ['copy', `oci:${root}/layout:v1`, `${host}/a:v1`];
      const known = certsDir(root, { [host]: `server = "https://${host}"\nca = "${made.authority}"` });
      assert.equal((await naiad(...copy, '--certs-dir', known)).code, 0);
      const unknown = certsDir(join(root, 'u'), { [host]: `server = "https://${host}"` });
      const refused = await naiad(...copy, '--certs-dir', unknown);
      assert.match(refused.stderr, /UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER|SELF_SIGNED/);
      assert.match(refused.stderr, /hint: .*certs\.d/);
      assert.equal((await naiad(...copy, '--certs-dir', unknown, '--insecure-skip-verify')).code, 0);
      mkdirSync(join(root, 'docker', host), { recursive: true });
      copyFileSync(made.authority, join(root, 'docker', host, 'ca.crt'));
      const listed = await naiad('tags', '--certs-dir', join(root, 'docker'), `${host}/a`);
      assert.equal(listed.stdout, 'v1\n');
    },
  );
});

test(
  'tls: --tls-verify=false takes any certificate, and plain HTTP where there is no TLS',
  every(dockerRegistry(), openssl()),
  async () => {
    await withTls(
      () => ({}),
      async ({ host, naiad, root }) => {
        const unknown = certsDir(root, { [host]: `server = "https://${host}"` });
        const copy = ['copy', `oci:${root}/layout:v1`, `${host}/a:v1`, '--certs-dir', unknown];
        assert.equal((await naiad(...copy)).code, 14);
        assert.equal((await naiad(...copy, '--tls-verify=false')).code, 0);
        await using plain = await startRegistry({ root: join(root, 'plain'), host: '127.0.0.1', port: 0 });
        const said = { 'registry.test': `server = "https://${plain.host}"`, [host]: `server = "https://${host}"` };
        const both = certsDir(join(root, 'both'), said);
        const across = ['copy', `${host}/a:v1`, 'registry.test/b:v1', '--certs-dir', both];
        assert.equal((await naiad(...across, '--src-tls-verify=false')).code, 14);
        assert.equal((await naiad(...across, '--src-tls-verify=false', '--dest-tls-verify=false')).code, 0);
        const converted = ['convert', `${host}/a:v1`, 'registry.test/c:v1', '--dest-certs-dir', both];
        assert.equal((await naiad(...converted, '--src-certs-dir', unknown, '--tls-verify=false')).code, 0);
      },
    );
  },
);

test('tls: a client certificate', every(dockerRegistry(), openssl()), async () => {
  await withTls(
    (made) => ({ clientAuthority: made.authority }),
    async ({ host, made, naiad, root }) => {
      const base = `server = "https://${host}"\nca = "${made.authority}"\n`;
      const client = `client = [["${made.client.certificate}", "${made.client.key}"]]\n`;
      const copy = ['copy', `oci:${root}/layout:v1`, `${host}/a:v1`, '--certs-dir'];
      assert.equal((await naiad(...copy, certsDir(root, { [host]: base + client }))).code, 0);
      const refused = await naiad(...copy, certsDir(join(root, 'without'), { [host]: base }));
      // The server closes the connection; whether its alert is seen before that depends on who is faster.
      assert.equal(refused.code, 14);
      assert.match(refused.stderr, /REGISTRY_UNAVAILABLE/);
    },
  );
});

test('proxy: plain requests are asked of the proxy itself, by their whole address', async () => {
  using dir = temporaryDir('proxy');
  await using server = await startRegistry({ root: dir.path, host: '127.0.0.1', port: 0 });
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [] }));
  const asked: string[] = [];
  const proxy = createServer((message, response) => {
    asked.push(`${message.method} ${message.url}`);
    const { pathname } = new URL(String(message.url));
    httpRequest(new URL(pathname, server.url), { method: message.method }, (answer) => {
      answer.resume();
      response.writeHead(200, { 'content-type': 'application/vnd.oci.image.index.v1+json' }).end(bytes);
    }).end();
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const { port } = proxy.address() as AddressInfo;
  const env = { ...process.env, HTTP_PROXY: `http://127.0.0.1:${port}`, NO_PROXY: '' };
  const args = ['inspect', '--raw', 'manifest', '--plain-http', 'registry.test/a:v1'];
  const { stdout } = await runTool(process.execPath, [NAIAD, ...args], { env, okay: [0, 10] }).finally(() =>
    proxy.close(),
  );
  assert.deepEqual(asked, ['GET http://registry.test/v2/a/manifests/v1']);
  assert.ok(stdout === '' || sha256Digest(Buffer.from(stdout)) === sha256Digest(bytes));
});
