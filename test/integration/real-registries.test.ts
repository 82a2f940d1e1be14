// One scenario against Debian's docker-registry in every setting it can be put into: convert and push, probe, read lazily,
// copy, delete.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { convertReference } from '../../src/convert/convert-reference.ts';
import type { CredentialSource } from '../../src/registry/credentials.ts';
import { deleteManifest, getManifest } from '../../src/registry/manifests.ts';
import { Registry, type RegistryOptions } from '../../src/registry/transport.ts';
import { copyReference } from '../../src/transport/copy.ts';
import { probeReference } from '../../src/transport/probe.ts';
import { certificates } from '../support/certificates.ts';
import { readLazily } from '../support/read-lazily.ts';
import { every, program, type Requirement } from '../support/requires.ts';
import { bcrypt, dockerRegistry, startDockerRegistry, type TestRegistry } from '../support/servers.ts';
import { startSignedStorage } from '../support/signed-storage.ts';
import { noise, smallImage, writeSmallLayout } from '../support/small-image.ts';
import { temporaryDir } from '../support/temporary.ts';
import { openssl, startTokenServer } from '../support/token-server.ts';

const account = { user: 'someone', password: 'pass:word-5ecret' };
const known: CredentialSource = async () => ({ credentials: { ...account, source: '/auth.json' }, looked: [] });
const { signal } = new AbortController();
const BUILD = { compressor: 'zstd', chunkSize: 65_536, digester: 'blake3', jobs: 1, prefetch: [] } as const;

interface Setting {
  readonly name: string;
  readonly requires: Requirement;
  readonly authentication: 'none' | 'basic' | 'bearer';
  /** Starts it; what is to be ended goes on `stack`. */
  start(
    stack: AsyncDisposable[],
    root: string,
  ): Promise<TestRegistry & { readonly certsDir?: string; readonly storage?: string }>;
}

/** hosts.toml for a registry with TLS, naming the files of `certificates`. */
function trust(root: string, host: string, lines: readonly string[]): string {
  const directory = join(root, 'certs.d', host);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'hosts.toml'), [`server = "https://${host}"`, ...lines].join('\n'));
  return join(root, 'certs.d');
}

const settings: readonly Setting[] = [
  { name: 'plain', requires: dockerRegistry(), authentication: 'none', start: () => startDockerRegistry() },
  {
    name: 'passwords',
    requires: every(dockerRegistry(), bcrypt()),
    authentication: 'basic',
    start: () => startDockerRegistry({ account }),
  },
  {
    name: 'tokens',
    requires: every(dockerRegistry(), openssl()),
    authentication: 'bearer',
    async start(stack) {
      const tokens = await startTokenServer(account);
      stack.push(tokens);
      return await startDockerRegistry({ token: tokens });
    },
  },
  {
    name: 'TLS with an own authority, and passwords',
    requires: every(dockerRegistry(), bcrypt(), openssl()),
    authentication: 'basic',
    async start(_, root) {
      const { authority, server } = certificates(root);
      const registry = await startDockerRegistry({ account, tls: server });
      return { ...registry, certsDir: trust(root, registry.host, [`ca = "${authority}"`]) };
    },
  },
  {
    name: 'client certificates',
    requires: every(dockerRegistry(), openssl()),
    authentication: 'none',
    async start(_, root) {
      const { authority, server, client } = certificates(root);
      const registry = await startDockerRegistry({ tls: { ...server, clientAuthority: authority } });
      const lines = [`ca = "${authority}"`, `client = [["${client.certificate}", "${client.key}"]]`];
      return { ...registry, certsDir: trust(root, registry.host, lines) };
    },
  },
  {
    name: 'redirects to signed storage, with passwords',
    requires: every(dockerRegistry(), bcrypt(), program('nginx')),
    authentication: 'basic',
    async start(stack) {
      const storage = await startSignedStorage(1);
      stack.push(storage);
      const registry = await startDockerRegistry({ account, redirectTo: storage.url });
      await storage.start(registry.root);
      return { ...registry, storage: new URL(storage.url).host };
    },
  },
];

for (const setting of settings) {
  test(`docker-registry: ${setting.name}`, setting.requires, async () => {
    using dir = temporaryDir('real');
    const stack: AsyncDisposable[] = [];
    try {
      const { host, certsDir, storage, ...running } = await setting.start(stack, dir.path);
      stack.push(running);
      const registry: RegistryOptions = { credentials: known, certsDir, retryDelayMs: 5 };
      const image = `${host}/team/app:v1-naiad`;
      writeSmallLayout(join(dir.path, 'in'), await smallImage([{ small: 'hello' }, { large: noise(600_000) }]), 'v1');
      await convertReference(`oci:${dir.path}/in:v1`, image, { ...BUILD, registry }, { signal });
      const probe = await probeReference(image, { registry, push: true });
      assert.equal(probe.authentication, setting.authentication);
      assert.equal(probe.redirectsTo, storage);
      assert.equal(probe.ranges.works, true);
      assert.equal(probe.push?.deletion.works, true);
      await readLazily(host, registry, storage === undefined ? 0 : 2100);
      const opening = { source: { registry }, target: { registry } };
      const inside = await copyReference(image, `${host}/team/copy:v2`, {}, {}, opening);
      const outside = await copyReference(`${host}/team/copy:v2`, `oci:${dir.path}/out:v2`, {}, {}, opening);
      assert.equal(outside.digest, inside.digest);
      await using open = new Registry(host, registry);
      assert.equal(await deleteManifest(open, { repository: 'team/copy', selector: inside.digest }), true);
      await assert.rejects(getManifest(open, { repository: 'team/copy', selector: 'v2' }), { code: 'IMAGE_NOT_FOUND' });
    } finally {
      for (const one of stack.reverse()) await one[Symbol.asyncDispose]();
    }
  });
}

test(
  'docker-registry: a pull-through cache sends a blob whole once, and takes no pushes',
  dockerRegistry(),
  async () => {
    using dir = temporaryDir('real');
    await using origin = await startDockerRegistry();
    await using cache = await startDockerRegistry({ cacheOf: origin.url });
    const registry: RegistryOptions = { credentials: known, retryDelayMs: 5 };
    writeSmallLayout(join(dir.path, 'in'), await smallImage([{ large: noise(600_000) }]), 'v1');
    await convertReference(
      `oci:${dir.path}/in:v1`,
      `${origin.host}/team/app:v1-naiad`,
      { ...BUILD, registry },
      { signal },
    );
    await readLazily(cache.host, registry, 0);
    const pushed = copyReference(`oci:${dir.path}/in:v1`, `${cache.host}/b:v1`, {}, {}, { target: { registry } });
    await assert.rejects(pushed, { code: 'REGISTRY_PROTOCOL', message: /405/, hint: /pull-through cache/ });
  },
);
