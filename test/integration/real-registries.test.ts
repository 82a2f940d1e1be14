// One scenario against real registries, in every setting they can be put into: log in, convert and push, list tags, probe,
// read and mount lazily, copy with what refers to the image, delete.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { convertReference } from '../../src/convert/convert-reference.ts';
import { sha256Digest } from '../../src/format/oci/digest.ts';
import { parseManifest, type RawManifest } from '../../src/format/oci/manifest.ts';
import { MEDIA_TYPES } from '../../src/format/oci/media-types.ts';
import { logIn, parseLoginPlace } from '../../src/registry/login.ts';
import { deleteManifest, getManifest, headManifest, putManifest } from '../../src/registry/manifests.ts';
import { addFallbackReferrer, hasReferrersApi, listReferrers } from '../../src/registry/referrers.ts';
import { Registry, type RegistryOptions } from '../../src/registry/transport.ts';
import { copyReference } from '../../src/transport/copy.ts';
import { probeReference } from '../../src/transport/probe.ts';
import { tagsOf } from '../../src/transport/tags.ts';
import { certificates } from '../support/certificates.ts';
import { naiadHome } from '../support/naiad.ts';
import { readLazily } from '../support/read-lazily.ts';
import { addon, every, fuse, program, type Requirement, root as superuser } from '../support/requires.ts';
import { SERVER_KINDS, type ServerKind } from '../support/server-kinds.ts';
import { bcrypt, type TestRegistry } from '../support/servers.ts';
import { startSignedStorage } from '../support/signed-storage.ts';
import { noise, smallImage, writeSmallLayout } from '../support/small-image.ts';
import { temporaryDir } from '../support/temporary.ts';
import { openssl, startTokenServer } from '../support/token-server.ts';

const account = { user: 'someone', password: 'pass:word-5ecret' };
const { signal } = new AbortController();
const BUILD = { compressor: 'zstd', chunkSize: 65_536, digester: 'blake3', jobs: 1, prefetch: [] } as const;

interface Setting {
  readonly name: string;
  readonly requires: Requirement;
  readonly authentication: 'none' | 'basic' | 'bearer';
  /** Also mounts the image with the command. */
  readonly mounts?: boolean;
  /** Starts it; what is to be ended goes on `stack`. */
  start(
    kind: ServerKind,
    stack: AsyncDisposable[],
    root: string,
  ): Promise<Pick<TestRegistry, 'host'> & { readonly certsDir?: string; readonly storage?: string }>;
}

/** hosts.toml for a registry with TLS, naming the files of `certificates`. */
function trust(root: string, host: string, lines: readonly string[]): string {
  const directory = join(root, 'certs.d', host);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'hosts.toml'), [`server = "https://${host}"`, ...lines].join('\n'));
  return join(root, 'certs.d');
}

async function started(kind: ServerKind, stack: AsyncDisposable[], options: Parameters<ServerKind['start']>[0]) {
  const registry = await kind.start(options);
  stack.push(registry);
  return registry;
}

const settings: readonly Setting[] = [
  {
    name: 'plain',
    requires: { skip: false },
    authentication: 'none',
    start: (kind, stack) => started(kind, stack, {}),
  },
  {
    name: 'passwords',
    requires: bcrypt(),
    authentication: 'basic',
    start: (kind, stack) => started(kind, stack, { account }),
  },
  {
    name: 'tokens',
    requires: openssl(),
    authentication: 'bearer',
    async start(kind, stack) {
      const tokens = await startTokenServer(account);
      stack.push(tokens);
      return await started(kind, stack, { token: tokens });
    },
  },
  {
    name: 'TLS with an own authority, and passwords',
    requires: every(bcrypt(), openssl()),
    authentication: 'basic',
    mounts: true,
    async start(kind, stack, root) {
      const { authority, server } = certificates(root);
      const { host } = await started(kind, stack, { account, tls: server });
      return { host, certsDir: trust(root, host, [`ca = "${authority}"`]) };
    },
  },
  {
    name: 'client certificates',
    requires: openssl(),
    authentication: 'none',
    async start(kind, stack, root) {
      const { authority, server, client } = certificates(root);
      const { host } = await started(kind, stack, { tls: { ...server, clientAuthority: authority } });
      const lines = [`ca = "${authority}"`, `client = [["${client.certificate}", "${client.key}"]]`];
      return { host, certsDir: trust(root, host, lines) };
    },
  },
  {
    name: 'redirects to signed storage, with passwords',
    requires: every(bcrypt(), program('nginx')),
    authentication: 'basic',
    async start(kind, stack) {
      const storage = await startSignedStorage(1);
      stack.push(storage);
      const { host, root } = await started(kind, stack, { account, redirectTo: storage.url });
      const front = await storage.start(root, kind.redirects ? undefined : host);
      // nginx has asked the signer already; a registry that redirects itself sends readers there first.
      return kind.redirects ? { host, storage: new URL(storage.url).host } : { host: front, storage: storage.host };
    },
  },
];

for (const kind of SERVER_KINDS) {
  for (const setting of settings) {
    test(`${kind.name}: ${setting.name}`, every(kind.requires, setting.requires), async () => {
      using dir = temporaryDir('real');
      const stack: AsyncDisposable[] = [];
      try {
        const { host, certsDir, storage } = await setting.start(kind, stack, dir.path);
        await passThrough(kind, setting, { dir: dir.path, host, certsDir, storage });
      } finally {
        for (const one of stack.reverse()) await one[Symbol.asyncDispose]();
      }
    });
  }
}

interface Place {
  readonly dir: string;
  readonly host: string;
  readonly certsDir: string | undefined;
  /** Where blobs are read from, when not from the registry. */
  readonly storage: string | undefined;
}

async function passThrough(kind: ServerKind, setting: Setting, place: Place): Promise<void> {
  const { dir, host, certsDir, storage } = place;
  const authFile = join(dir, 'auth.json');
  const registry: RegistryOptions = { authFile, certsDir, retryDelayMs: 5 };
  const isOpen = setting.authentication === 'none';
  const { verified } = await logIn(parseLoginPlace(host), account, { registry, authFile });
  assert.equal(verified, !isOpen);
  if (!isOpen) {
    const wrong = { ...account, password: 'wr0ng' };
    const refused = logIn(parseLoginPlace(host), wrong, { registry, authFile: join(dir, 'wrong.json') });
    await assert.rejects(refused, { code: 'ACCESS_DENIED' });
  }
  const image = `${host}/team/app:v1-naiad`;
  const large = noise(600_000);
  writeSmallLayout(join(dir, 'in'), await smallImage([{ small: 'hello' }, { large }]), 'v1');
  await convertReference(`oci:${dir}/in:v1`, image, { ...BUILD, registry }, { signal });
  assert.deepEqual((await tagsOf(image, { registry })).tags, ['v1-naiad']);
  const probe = await probeReference(image, { registry, push: true });
  assert.equal(probe.authentication, setting.authentication);
  assert.equal(probe.redirectsTo, storage);
  assert.equal(probe.ranges.works, true);
  assert.equal(probe.referrersApi, kind.listsReferrers);
  assert.deepEqual(workingWays(probe.push), {
    ...{ put: true, stream: true, chunks: true, resume: true, mount: true, convertedLayers: true },
    ...{ indexWithFeatures: true, subject: kind.listsReferrers, deletion: true },
  });
  await readLazily(host, registry, storage === undefined ? 0 : 2100);
  if (setting.mounts && canMount) await readMounted(place, image, authFile, large);
  await copyAndDelete(kind, host, dir, registry);
}

function workingWays(push: Awaited<ReturnType<typeof probeReference>>['push']): Record<string, boolean> {
  const found = Object.entries(push ?? {}).filter(([name]) => name !== 'chunkMin');
  return Object.fromEntries(found.map(([name, finding]) => [name, typeof finding === 'object' && finding.works]));
}

const canMount = every(superuser(), addon(), fuse()).skip === false;

/** The command, with what it was logged in with, gives the bytes of the file. */
async function readMounted({ dir, certsDir }: Place, image: string, authFile: string, large: Buffer): Promise<void> {
  await using naiad = naiadHome(join(dir, 'home'));
  const directory = join(dir, 'mnt');
  mkdirSync(directory);
  const certificates = certsDir === undefined ? [] : ['--certs-dir', certsDir];
  await using _mounted = await naiad.mount(image, directory, '--authfile', authFile, ...certificates);
  assert.deepEqual(readFileSync(join(directory, 'large')), large);
}

/** A copy inside the registry, with a note that refers to the image, and one out of it; then it is deleted. */
async function copyAndDelete(kind: ServerKind, host: string, dir: string, registry: RegistryOptions): Promise<void> {
  const opening = { source: { registry }, target: { registry } };
  await using open = new Registry(host, registry);
  const raw = await getManifest(open, { repository: 'team/app', selector: 'v1-naiad' });
  const note = noteOn(raw);
  const isListed = await putManifest(open, { repository: 'team/app', selector: note.digest }, note);
  assert.equal(isListed, kind.listsReferrers);
  if (!isListed) await addFallbackReferrer(open, 'team/app', note);
  const inside = await copyReference(
    `${host}/team/app:v1-naiad`,
    `${host}/team/copy:v2`,
    { referrers: true },
    {},
    opening,
  );
  assert.equal(inside.digest, raw.digest);
  assert.equal(inside.referrers, 1);
  assert.equal(await hasReferrersApi(open, 'team/copy', raw.digest), kind.listsReferrers);
  const listed = await listReferrers(open, 'team/copy', raw.digest);
  assert.deepEqual(
    listed.map(({ digest }) => digest),
    [note.digest],
  );
  const outside = await copyReference(`${host}/team/copy:v2`, `oci:${dir}/out:v2`, {}, {}, opening);
  assert.equal(outside.digest, inside.digest);
  assert.equal(await headManifest(open, { repository: 'team/copy', selector: 'v2' }), raw.digest);
  assert.equal(await deleteManifest(open, { repository: 'team/copy', selector: inside.digest }), true);
  await assert.rejects(getManifest(open, { repository: 'team/copy', selector: 'v2' }), { code: 'IMAGE_NOT_FOUND' });
}

function noteOn(subject: RawManifest): RawManifest {
  const { config } = parseManifest(subject.bytes);
  const bytes = Buffer.from(
    JSON.stringify({
      ...{ schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, artifactType: 'application/x-note' },
      ...{ config, layers: [] },
      subject: { mediaType: subject.mediaType, digest: subject.digest, size: subject.bytes.length },
    }),
  );
  return { mediaType: MEDIA_TYPES.ociManifest, digest: sha256Digest(bytes), bytes };
}

for (const kind of SERVER_KINDS) {
  test(`${kind.name}: as a pull-through cache it is read lazily`, kind.requires, async () => {
    using dir = temporaryDir('real');
    await using origin = await kind.start({});
    await using cache = await kind.start({ cacheOf: origin.url });
    const registry: RegistryOptions = { retryDelayMs: 5 };
    writeSmallLayout(join(dir.path, 'in'), await smallImage([{ large: noise(600_000) }]), 'v1');
    const image = `${origin.host}/team/app:v1-naiad`;
    await convertReference(`oci:${dir.path}/in:v1`, image, { ...BUILD, registry }, { signal });
    await readLazily(cache.host, registry, 0);
    if (!kind.cacheRefusesPushes) return;
    const pushed = copyReference(`oci:${dir.path}/in:v1`, `${cache.host}/b:v1`, {}, {}, { target: { registry } });
    await assert.rejects(pushed, { code: 'REGISTRY_PROTOCOL', message: /405/, hint: /pull-through cache/ });
  });
}
