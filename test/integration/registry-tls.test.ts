// HTTPS beyond loopback: on an address of this machine that is not loopback, with a certificate of our own.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer as createHttp } from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { getManifest } from '../../src/registry/manifests.ts';
import { Registry } from '../../src/registry/transport.ts';
import { every, type Requirement, requirement } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { temporaryDir } from '../support/temporary.ts';
import { openssl } from '../support/token-server.ts';

const address = Object.values(networkInterfaces())
  .flat()
  .find((found) => found?.family === 'IPv4' && !found.internal)?.address;

function outerAddress(): Requirement {
  return requirement('network-address', () => (address ? undefined : 'this machine has loopback addresses only'));
}

async function listening(server: Server): Promise<string> {
  server.listen(0, address);
  await once(server, 'listening');
  return `${address}:${(server.address() as AddressInfo).port}`;
}

const name = { repository: 'a', selector: 'v1' };

test('tls: beyond loopback there is no plain HTTP', outerAddress(), async () => {
  let requests = 0;
  const server = createHttp((_, response) => {
    requests++;
    response.end();
  });
  const host = await listening(server);
  await using registry = new Registry(host, { retryDelayMs: 1, attemptsMax: 2 });
  await assert.rejects(getManifest(registry, name), {
    code: 'REGISTRY_UNAVAILABLE',
    message: /: it does not speak TLS$/,
    hint: /^Plain HTTP is used on loopback/,
  });
  assert.equal(requests, 0);
  server.close();
});

test('tls: a certificate must be trusted', every(outerAddress(), openssl()), async () => {
  using work = temporaryDir('tls');
  const [key, cert] = [join(work.path, 'key.pem'), join(work.path, 'cert.pem')];
  const names = ['-subj', '/CN=naiad-test', '-addext', `subjectAltName=IP:${address}`, '-days', '2'];
  const files = ['-keyout', key, '-out', cert];
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', ...names, ...files], { stdio: 'ignore' });
  const document = JSON.stringify({ schemaVersion: 2, manifests: [] });
  const server = createHttps({ key: readFileSync(key), cert: readFileSync(cert) }, (_, response) => {
    response.writeHead(200, { 'content-type': 'application/vnd.oci.image.index.v1+json' }).end(document);
  });
  const host = await listening(server);
  await using registry = new Registry(host, { retryDelayMs: 1 });
  await assert.rejects(getManifest(registry, name), {
    code: 'REGISTRY_UNAVAILABLE',
    message: /its certificate is not trusted here \(DEPTH_ZERO_SELF_SIGNED_CERT\)/,
    hint: new RegExp(`certs.d/${host}/ca.crt.*NODE_EXTRA_CA_CERTS`),
  });
  // Trying again would not change it.
  assert.equal(registry.stats.retries, 0);
  const module = (path: string) => JSON.stringify(new URL(`../../src/registry/${path}.js`, import.meta.url).href);
  const script = `const { Registry } = await import(${module('transport')});
    const { getManifest } = await import(${module('manifests')});
    const registry = new Registry(${JSON.stringify(host)});
    console.log((await getManifest(registry, ${JSON.stringify(name)})).digest);
    await registry[Symbol.asyncDispose]();`;
  const { stdout } = await runTool(process.execPath, ['--input-type=module', '-e', script], {
    env: { ...process.env, NODE_EXTRA_CA_CERTS: cert },
  });
  assert.match(stdout, /^sha256:[0-9a-f]{64}/);
  server.close();
});
