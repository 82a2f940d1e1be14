// The registry client against real registries: our embedded one and Debian's docker-registry, open, with passwords and
// with tokens. One suite for all.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { sha256Digest } from '../../src/format/oci/digest.ts';
import type { RawManifest } from '../../src/format/oci/manifest.ts';
import { MEDIA_TYPES } from '../../src/format/oci/media-types.ts';
import { hasBlob, openBlob } from '../../src/registry/blobs.ts';
import type { CredentialSource } from '../../src/registry/credentials.ts';
import { getManifest, headManifest, putManifest } from '../../src/registry/manifests.ts';
import { registryReader } from '../../src/registry/reader.ts';
import { Registry } from '../../src/registry/transport.ts';
import { uploadBlob } from '../../src/registry/upload.ts';
import { startRegistry } from '../../src/registry-server/start.ts';
import { every, program, type Requirement } from '../support/requires.ts';
import { bcrypt, dockerRegistry, startDockerRegistry, type TestRegistry } from '../support/servers.ts';
import { noise, smallImage, writeSmallLayout } from '../support/small-image.ts';
import { temporaryDir } from '../support/temporary.ts';
import { openssl, startTokenServer } from '../support/token-server.ts';

const PASSWORD = 'pass:word-5ecret';
const account = { user: 'someone', password: PASSWORD };
const known: CredentialSource = async () => ({
  credentials: { ...account, source: '/home/auth.json' },
  looked: ['/home/auth.json'],
});
const unknown: CredentialSource = async () => ({ credentials: undefined, looked: ['/home/auth.json'] });
const wrong: CredentialSource = async () => ({
  credentials: { user: 'someone', password: 'wr0ng-pa55', source: '/home/auth.json' },
  looked: ['/home/auth.json'],
});

interface Server {
  readonly name: string;
  readonly requires: Requirement;
  readonly asksWho: boolean;
  start(): Promise<TestRegistry>;
}

async function embedded(): Promise<TestRegistry> {
  const directory = temporaryDir('registry');
  const server = await startRegistry({ root: directory.path, host: '127.0.0.1', port: 0 });
  return {
    host: server.host,
    url: server.url,
    root: directory.path,
    async [Symbol.asyncDispose]() {
      await server.close();
      directory[Symbol.dispose]();
    },
  };
}

async function withTokens(): Promise<TestRegistry> {
  const tokens = await startTokenServer({ ...account, accessToken: true });
  const registry = await startDockerRegistry({ token: tokens });
  return {
    ...registry,
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await tokens[Symbol.asyncDispose]();
    },
  };
}

const servers: readonly Server[] = [
  { name: 'embedded', requires: { skip: false }, asksWho: false, start: embedded },
  { name: 'docker-registry', requires: dockerRegistry(), asksWho: false, start: () => startDockerRegistry() },
  {
    name: 'docker-registry with passwords',
    requires: every(dockerRegistry(), bcrypt()),
    asksWho: true,
    start: () => startDockerRegistry({ account }),
  },
  {
    name: 'docker-registry with tokens',
    requires: every(dockerRegistry(), openssl()),
    asksWho: true,
    start: withTokens,
  },
];

const large = noise(3_000_000);
const largeBlob = { digest: sha256Digest(large), size: large.length };

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function* inPieces(bytes: Buffer): AsyncGenerator<Uint8Array, void, void> {
  for (let offset = 0; offset < bytes.length; offset += 100_000) yield bytes.subarray(offset, offset + 100_000);
}

for (const server of servers) {
  test(`registry: ${server.name}`, server.requires, async (t) => {
    await using running = await server.start();
    await using registry = new Registry(running.host, { credentials: known, retryDelayMs: 5, attemptsMax: 2 });

    await t.test('pushes blobs, once and again', async () => {
      const seen: number[] = [];
      const upload = { repository: 'a/b', descriptor: largeBlob, open: () => inPieces(large) };
      assert.equal(await hasBlob(registry, { repository: 'a/b', ...largeBlob }), false);
      await uploadBlob(registry, { ...upload, onProgress: (bytes) => seen.push(bytes) });
      assert.equal(await hasBlob(registry, { repository: 'a/b', ...largeBlob }), true);
      assert.equal(seen.at(-1), large.length);
      await uploadBlob(registry, upload);
      const empty = Buffer.alloc(0);
      const descriptor = { digest: sha256Digest(empty), size: 0 };
      await uploadBlob(registry, { repository: 'a/b', descriptor, open: () => empty });
      assert.equal(await hasBlob(registry, { repository: 'a/b', ...descriptor }), true);
      assert.equal((await collect(await openBlob(registry, 'a/b', descriptor))).length, 0);
    });

    await t.test('reads whole blobs and ranges of them', async () => {
      assert.deepEqual(await collect(await openBlob(registry, 'a/b', largeBlob)), large);
      const reader = registryReader(registry, { repository: 'a/b', ...largeBlob });
      const ranges: readonly (readonly [offset: number, size: number])[] = [
        [0, 1],
        [0, large.length],
        [large.length - 1, 1],
        [1_234_567, 700_000],
        [5, 0],
      ];
      await Promise.all(
        ranges.map(async ([offset, size]) => {
          assert.deepEqual(Buffer.from(await reader.readAt({ offset, size })), large.subarray(offset, offset + size));
        }),
      );
      assert.equal(reader.name, `${running.host}/a/b@${largeBlob.digest}`);
    });

    await t.test('says when a blob ends before the range', async () => {
      const range = { offset: large.length - 10, size: 20 };
      const informed = registryReader(registry, { repository: 'a/b', ...largeBlob });
      await assert.rejects(informed.readAt(range), { code: 'SIZE_MISMATCH' });
      const unaware = registryReader(registry, { repository: 'a/b', digest: largeBlob.digest });
      await assert.rejects(unaware.readAt({ offset: large.length + 5, size: 20 }), { code: 'SIZE_MISMATCH' });
      // The connection that had the refusal is not in the way.
      assert.equal((await informed.readAt({ offset: 0, size: 4 })).length, 4);
    });

    await t.test('pushes and reads manifests byte for byte', async () => {
      const image = await smallImage([{ hello: 'world' }]);
      for (const { descriptor, bytes } of [image.config, ...image.layers]) {
        await uploadBlob(registry, { repository: 'a/b', descriptor, open: () => bytes });
      }
      const docker = rawManifest(MEDIA_TYPES.dockerManifest, {
        config: { ...image.config.descriptor, mediaType: MEDIA_TYPES.dockerConfig },
        layers: image.layers.map(({ descriptor }) => ({ ...descriptor, mediaType: MEDIA_TYPES.dockerLayerGzip })),
      });
      const entry = {
        mediaType: image.manifest.mediaType,
        digest: image.manifest.digest,
        size: image.manifest.bytes.length,
      };
      const platform = { os: 'linux', architecture: 'amd64' };
      const index = rawManifest(MEDIA_TYPES.ociIndex, { manifests: [{ ...entry, platform }] });
      for (const [tag, manifest] of [
        ['oci', image.manifest],
        ['docker', docker],
        ['index', index],
      ] as const) {
        await putManifest(registry, { repository: 'a/b', selector: tag }, manifest);
        for (const selector of [tag, manifest.digest]) {
          const got = await getManifest(registry, { repository: 'a/b', selector });
          assert.deepEqual(
            { ...got, bytes: Buffer.from(got.bytes) },
            { ...manifest, bytes: Buffer.from(manifest.bytes) },
          );
        }
        assert.equal(await headManifest(registry, { repository: 'a/b', selector: tag }), manifest.digest);
      }
    });

    await t.test('names what is not there', async () => {
      const missing = `sha256:${'0'.repeat(64)}`;
      const name = (selector: string) => ({ repository: 'a/b', selector });
      await assert.rejects(getManifest(registry, name('nope')), {
        code: 'IMAGE_NOT_FOUND',
        message: new RegExp(`manifest of a/b:nope at ${running.host}: status 404 \\(MANIFEST_UNKNOWN`),
      });
      await assert.rejects(getManifest(registry, name(missing)), { code: 'IMAGE_NOT_FOUND' });
      await assert.rejects(getManifest(registry, { repository: 'no/such', selector: 'x' }), {
        code: 'IMAGE_NOT_FOUND',
      });
      await assert.rejects(openBlob(registry, 'a/b', { digest: missing, size: 1 }), { code: 'BLOB_NOT_FOUND' });
      const reader = registryReader(registry, { repository: 'a/b', digest: missing });
      await assert.rejects(reader.readAt({ offset: 0, size: 1 }), { code: 'BLOB_NOT_FOUND' });
      assert.equal(await headManifest(registry, name('nope')), undefined);
    });

    await t.test('does not store bytes under another digest', async () => {
      const descriptor = { digest: sha256Digest(Buffer.from('this')), size: 4 };
      const upload = { repository: 'a/b', descriptor, open: () => Buffer.from('that') };
      await assert.rejects(uploadBlob(registry, upload), { code: 'DIGEST_MISMATCH' });
      assert.equal(await hasBlob(registry, { repository: 'a/b', ...descriptor }), false);
    });

    await t.test('stops in the middle when told to', async () => {
      const caller = new AbortController();
      await assert.rejects(
        async () => {
          for await (const _ of await openBlob(registry, 'a/b', largeBlob, caller.signal)) caller.abort();
        },
        { code: 'CANCELED' },
      );
      const second = new AbortController();
      const slow = async function* () {
        yield large.subarray(0, 1_000_000);
        second.abort();
        await new Promise((resolve) => setTimeout(resolve, 50));
        yield large.subarray(1_000_000);
      };
      const upload = { repository: 'c', descriptor: largeBlob, open: slow };
      await assert.rejects(uploadBlob(registry, upload, second.signal), { code: 'CANCELED' });
      assert.equal(await hasBlob(registry, { repository: 'c', ...largeBlob }), false);
    });

    if (server.asksWho) {
      await t.test('says whether credentials were sent, never which', async () => {
        for (const [credentials, sent] of [
          [unknown, /without credentials|no credentials were sent \(none for .* in \/home\/auth\.json\)/],
          [wrong, /credentials of "someone" from \/home\/auth\.json/],
        ] as const) {
          await using stranger = new Registry(running.host, { credentials, retryDelayMs: 5, attemptsMax: 2 });
          const error: Error = await getManifest(stranger, { repository: 'a/b', selector: 'oci' }).then(
            () => assert.fail('let in'),
            (e) => e,
          );
          assert.equal((error as NodeJS.ErrnoException).code, 'ACCESS_DENIED');
          assert.match(error.message, sent);
          assert.doesNotMatch(JSON.stringify([error.message, String(error.cause), error.stack]), /wr0ng|5ecret/);
        }
      });
    }
  });
}

function rawManifest(mediaType: string, fields: object): RawManifest {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...fields }));
  return { mediaType, digest: sha256Digest(bytes), bytes };
}

test('registry: one token serves all requests of its scope', every(dockerRegistry(), openssl()), async () => {
  await using tokens = await startTokenServer({ ...account, anonymousPull: true });
  await using running = await startDockerRegistry({ token: tokens });
  {
    await using registry = new Registry(running.host, { credentials: known });
    const descriptor = { digest: sha256Digest(Buffer.from('x')), size: 1 };
    await hasBlob(registry, { repository: 'a', ...descriptor });
    await uploadBlob(registry, { repository: 'a', descriptor, open: () => Buffer.from('x') });
    assert.equal(tokens.asked.length, 1);
    assert.deepEqual(tokens.asked[0]?.query.getAll('scope'), ['repository:a:pull,push']);
    assert.equal(tokens.asked[0]?.query.get('service'), tokens.service);
  }
  await using nobody = new Registry(running.host, { credentials: unknown });
  const reader = registryReader(nobody, { repository: 'a', digest: sha256Digest(Buffer.from('x')) });
  await Promise.all(Array.from({ length: 5 }, () => reader.readAt({ offset: 0, size: 1 })));
  assert.equal(tokens.asked.length, 2);
  assert.equal(tokens.asked[1]?.authorization, undefined);
  const upload = { repository: 'a', descriptor: largeBlob, open: () => large };
  await assert.rejects(uploadBlob(nobody, upload), { code: 'ACCESS_DENIED', message: /no credentials were sent/ });
});

const run = promisify(execFile);

test('registry: skopeo pushes to the embedded one, inspects and pulls', program('skopeo'), async () => {
  await using running = await embedded();
  using work = temporaryDir('skopeo');
  const image = await smallImage([{ a: 'one' }, { b: noise(2_000_000) }]);
  writeSmallLayout(join(work.path, 'in'), image, 'v1');
  const remote = `docker://${running.host}/team/app:v1`;
  const skopeo = (...args: string[]) => run('skopeo', ['--insecure-policy', ...args]);
  await skopeo('copy', '--dest-tls-verify=false', `oci:${work.path}/in:v1`, remote);
  const { stdout } = await skopeo('inspect', '--raw', '--tls-verify=false', remote);
  assert.equal(stdout, Buffer.from(image.manifest.bytes).toString());
  const second = `docker://${running.host}/team/copy:v1`;
  await skopeo('copy', '--src-tls-verify=false', '--dest-tls-verify=false', remote, second);
  await skopeo('copy', '--src-tls-verify=false', second, `oci:${work.path}/out:v1`);
  for (const { descriptor, bytes } of image.layers) {
    assert.deepEqual(readFileSync(join(work.path, 'out/blobs/sha256', descriptor.digest.slice(7))), bytes);
  }
  const listed = await skopeo('list-tags', '--tls-verify=false', `docker://${running.host}/team/app`);
  assert.deepEqual(JSON.parse(listed.stdout).Tags, ['v1']);
  // And what skopeo pushed, in a stream of unknown length, is ours to read.
  await using registry = new Registry(running.host, { credentials: unknown });
  const got = await getManifest(registry, { repository: 'team/copy', selector: 'v1' });
  assert.equal(got.digest, image.manifest.digest);
});
