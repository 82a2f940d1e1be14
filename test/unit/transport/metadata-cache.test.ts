import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { NaiadError } from '../../../src/base/errors.ts';
import { sha256Digest } from '../../../src/format/oci/digest.ts';
import { withMetadataCache } from '../../../src/transport/metadata-cache.ts';
import type { ImageSource } from '../../../src/transport/transport.ts';
import { temporaryDir } from '../../support/temporary.ts';

const scratch = temporaryDir('metadata-cache');
after(() => scratch[Symbol.dispose]());

const BYTES = Buffer.from('a bootstrap layer, as it is stored');
const blob = { mediaType: 'x', digest: sha256Digest(BYTES), size: BYTES.length };

/** A source whose one blob comes in pieces, and then fails if told to. */
function source(options: { failure?: Error } = {}): ImageSource & { opened: number } {
  const self = {
    name: 'test',
    opened: 0,
    async [Symbol.asyncDispose]() {},
    async openBlob() {
      self.opened++;
      return (async function* () {
        yield BYTES.subarray(0, 10);
        if (options.failure) throw options.failure;
        yield BYTES.subarray(10);
      })();
    },
  };
  return self as unknown as ImageSource & { opened: number };
}

async function read(from: ImageSource): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const piece of await from.openBlob(blob)) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

test('metadata cache: fetches once, and counts what it did not fetch', async () => {
  const directory = join(scratch.path, 'once');
  const origin = source();
  const cached = withMetadataCache(origin, { directory });
  assert.equal(await read(cached), BYTES.toString());
  assert.equal(cached.keptBytes, 0);
  await cached.kept();
  assert.equal(await read(cached), BYTES.toString());
  assert.deepEqual([origin.opened, cached.keptBytes], [1, BYTES.length]);
  await cached[Symbol.asyncDispose]();
  assert.deepEqual(readdirSync(directory), [blob.digest.slice('sha256:'.length)]);
});

test('metadata cache: of a blob that nobody read, nothing is left', async () => {
  const directory = join(scratch.path, 'unread');
  const cached = withMetadataCache(source(), { directory });
  await cached.openBlob(blob);
  await cached[Symbol.asyncDispose]();
  assert.deepEqual(readdirSync(directory), []);
});

for (const [name, content] of [
  ['changed', Buffer.from(BYTES).fill(1, 3, 4)],
  ['cut short', BYTES.subarray(0, 5)],
  ['grown', Buffer.concat([BYTES, BYTES])],
] as const) {
  test(`metadata cache: a file that is ${name} is fetched again`, async () => {
    const directory = join(scratch.path, name);
    const origin = source();
    const cached = withMetadataCache(origin, { directory });
    await read(cached);
    await cached[Symbol.asyncDispose]();
    const path = join(directory, readdirSync(directory)[0] as string);
    writeFileSync(path, content);
    assert.equal(await read(cached), BYTES.toString());
    assert.equal(origin.opened, 2);
    await cached.kept();
    assert.deepEqual(readFileSync(path), BYTES);
    await cached[Symbol.asyncDispose]();
  });
}

test('metadata cache: nothing is kept of a blob that did not come whole', async () => {
  const directory = join(scratch.path, 'failed');
  const failure = new Error('the network');
  const cached = withMetadataCache(source({ failure }), { directory });
  await assert.rejects(read(cached), failure);
  await cached[Symbol.asyncDispose]();
  assert.deepEqual(readdirSync(directory), []);
});

test('metadata cache: where nothing can be kept, it is fetched each time', async () => {
  const directory = join(scratch.path, 'file', 'below');
  writeFileSync(join(scratch.path, 'file'), '');
  const origin = source();
  const cached = withMetadataCache(origin, { directory });
  for (const _ of [1, 2]) assert.equal(await read(cached), BYTES.toString());
  assert.equal(origin.opened, 2);
});

const MANIFEST = Buffer.from('{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}');
const raw = {
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  digest: sha256Digest(MANIFEST),
  bytes: MANIFEST,
};

/** A source of one manifest; `failure` instead of it when given. */
function manifestSource(failure?: Error) {
  const [rootManifest, ends] = [() => self.manifest(), { async [Symbol.asyncDispose]() {} }];
  const self = { name: 'test', asked: 0, rootManifest, manifest, ...ends };
  async function manifest() {
    self.asked++;
    if (failure) throw failure;
    return raw;
  }
  return self as unknown as ImageSource & { asked: number };
}

test('metadata cache: manifests that were fetched serve where the registry fails, and first where that is wanted', async () => {
  const directory = join(scratch.path, 'manifests');
  const pinned = { directory, rootDigest: raw.digest };
  const origin = manifestSource();
  const first = withMetadataCache(origin, { directory });
  await first.rootManifest();
  await first[Symbol.asyncDispose]();
  assert.deepEqual(await withMetadataCache(origin, pinned).rootManifest(), raw);
  assert.equal(origin.asked, 2, 'who is well is asked');
  const down = manifestSource(new NaiadError('REGISTRY_UNAVAILABLE', 'down'));
  assert.deepEqual({ ...(await withMetadataCache(down, pinned).rootManifest()) }, raw);
  assert.equal(down.asked, 1);
  assert.deepEqual({ ...(await withMetadataCache(down, { ...pinned, keptFirst: true }).rootManifest()) }, raw);
  assert.equal(down.asked, 1);
  // A tag may name another one by now, and a refusal is an answer.
  await assert.rejects(withMetadataCache(down, { directory, keptFirst: true }).rootManifest(), { message: 'down' });
  const refused = manifestSource(new NaiadError('ACCESS_DENIED', 'no'));
  await assert.rejects(withMetadataCache(refused, pinned).rootManifest(), { message: 'no' });
});
