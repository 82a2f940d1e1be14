// Archives of `docker save`, in its old form (a directory a layer, links for layers that repeat) and its new one.
import assert from 'node:assert/strict';
import { createWriteStream, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { test } from 'node:test';
import { pack as createPack, type Header } from 'tar-stream';
import { sha256Digest } from '../../../src/format/oci/digest.ts';
import { MEDIA_TYPES } from '../../../src/format/oci/media-types.ts';
import { openSource } from '../../../src/transport/open.ts';
import { resolveImage } from '../../../src/transport/resolve.ts';
import { smallImage } from '../../support/small-image.ts';
import { temporaryDir } from '../../support/temporary.ts';

type Member = readonly [header: Partial<Header> & { name: string }, bytes?: Uint8Array | string];

async function writeTar(path: string, members: readonly Member[]): Promise<void> {
  const pack = createPack();
  const writing = pipeline(pack, createWriteStream(path));
  for (const [header, content] of members) {
    const bytes = Buffer.from((content ?? '') as string);
    const entry = pack.entry({ ...header, size: bytes.length });
    if (content !== undefined) entry.end(bytes);
  }
  pack.finalize();
  await writing;
}

const image = await smallImage([{ a: 'one' }, { a: 'one' }, { b: 'two' }]);
const [first, , third] = image.layers;
assert.ok(first && third);
const listing = (...entries: object[]): Member => [{ name: 'manifest.json' }, JSON.stringify(entries)];

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function layersOf(reference: string) {
  await using source = await openSource(reference);
  const { manifest, raw } = await resolveImage(source, { platform: 'linux/amd64', converted: 'skip' });
  assert.equal((await source.manifest({ digest: raw.digest })).digest, raw.digest);
  const layers = await Promise.all(
    manifest.layers.map(async (layer) => ({ layer, bytes: await collect(await source.openBlob(layer)) })),
  );
  return { manifest, layers };
}

test('docker-archive: the old form, with a link for a layer that repeats', async () => {
  using work = temporaryDir();
  const file = join(work.path, 'a.tar');
  await writeTar(file, [
    [{ name: 'one/', type: 'directory' }],
    [{ name: 'one/layer.tar' }, first.tar],
    [{ name: 'two/layer.tar', type: 'symlink', linkname: '../one/layer.tar' }],
    [{ name: 'three/layer.tar' }, third.tar],
    [{ name: 'config.json' }, image.config.bytes],
    listing({
      Config: 'config.json',
      RepoTags: ['app:1'],
      Layers: ['one/layer.tar', 'two/layer.tar', 'three/layer.tar'],
    }),
  ]);
  const { manifest, layers } = await layersOf(`docker-archive:${file}:app:1`);
  assert.equal(manifest.config.digest, image.config.descriptor.digest);
  assert.deepEqual(
    layers.map(({ layer, bytes }) => [layer.mediaType, layer.digest, sha256Digest(bytes)]),
    image.layers.map(({ tar }) => [MEDIA_TYPES.dockerLayer, sha256Digest(tar), sha256Digest(tar)]),
  );
});

test('docker-archive: the new form, whose layers may be compressed', async () => {
  using work = temporaryDir();
  const file = join(work.path, 'a.tar');
  const at = (bytes: Uint8Array) => `blobs/sha256/${sha256Digest(bytes).slice(7)}`;
  await writeTar(file, [
    [{ name: at(first.bytes) }, first.bytes],
    [{ name: at(third.tar) }, third.tar],
    [{ name: at(image.config.bytes) }, image.config.bytes],
    listing({
      Config: at(image.config.bytes),
      RepoTags: null,
      Layers: [at(first.bytes), at(first.bytes), at(third.tar)],
    }),
  ]);
  const { layers } = await layersOf(`docker-archive:${file}`);
  assert.deepEqual(
    layers.map(({ layer }) => [layer.mediaType, layer.digest]),
    [
      [MEDIA_TYPES.dockerLayerGzip, first.descriptor.digest],
      [MEDIA_TYPES.dockerLayerGzip, first.descriptor.digest],
      [MEDIA_TYPES.dockerLayer, sha256Digest(third.tar)],
    ],
  );
});

const entry = { Config: 'c', RepoTags: ['app:1', 'other/app:2'], Layers: ['l', 'l', 'l'] };
const members: Member[] = [
  [{ name: 'c' }, image.config.bytes],
  [{ name: 'l' }, first.tar],
];
const refused: readonly (readonly [name: string, members: Member[], code: string, message: RegExp])[] = [
  ['no manifest.json', members, 'IMAGE_NOT_FOUND', /no manifest\.json/],
  ['manifest.json no JSON', [...members, [{ name: 'manifest.json' }, '[']], 'MANIFEST_INVALID', /not JSON/],
  ['manifest.json no list', [...members, [{ name: 'manifest.json' }, '{}']], 'MANIFEST_INVALID', /not a list/],
  ['an entry without layers', [...members, listing({ Config: 'c' })], 'MANIFEST_INVALID', /without Config and Layers/],
  [
    'several images',
    [...members, listing(entry, { ...entry, RepoTags: [] })],
    'IMAGE_NOT_FOUND',
    /app:1, other\/app:2, \(no name\)/,
  ],
  ['a missing layer', [...members, listing({ ...entry, Layers: ['l', 'l', 'm'] })], 'BLOB_NOT_FOUND', /no member "m"/],
  [
    'another count of layers',
    [...members, listing({ ...entry, Layers: ['l'] })],
    'MANIFEST_INVALID',
    /1 layers, 3 diff ids/,
  ],
  ['a config that is none', [[{ name: 'c' }, '{}'], listing(entry)], 'MANIFEST_INVALID', /config/],
  [
    'links in circles',
    [...members, [{ name: 'm', type: 'symlink', linkname: 'm' }], listing({ ...entry, Layers: ['l', 'l', 'm'] })],
    'BLOB_NOT_FOUND',
    /no member "m"/,
  ],
];
for (const [name, content, code, message] of refused) {
  test(`docker-archive: refuses ${name}`, async () => {
    using work = temporaryDir();
    const file = join(work.path, 'a.tar');
    await writeTar(file, content);
    await assert.rejects(layersOf(`docker-archive:${file}`), { code, message });
  });
}

test('docker-archive: a layer that is not what its config says is noticed when it is read', async () => {
  using work = temporaryDir();
  const file = join(work.path, 'a.tar');
  await writeTar(file, [
    ...members,
    [{ name: 'm' }, Buffer.alloc(2048)],
    listing({ ...entry, Layers: ['l', 'l', 'm'] }),
  ]);
  await assert.rejects(layersOf(`docker-archive:${file}`), { code: 'DIGEST_MISMATCH' });
});

test('docker-archive: every truncation ends in an error', async () => {
  using work = temporaryDir();
  const [whole, cut] = [join(work.path, 'a.tar'), join(work.path, 'cut.tar')];
  await writeTar(whole, [...members, [{ name: 'm' }, third.tar], listing({ ...entry, Layers: ['l', 'l', 'm'] })]);
  const { readFileSync } = await import('node:fs');
  const bytes = readFileSync(whole);
  for (let size = 0; size < bytes.length - 1024; size += 509) {
    writeFileSync(cut, bytes.subarray(0, size));
    const error = await layersOf(`docker-archive:${cut}`).then(
      () => undefined,
      (e) => e,
    );
    assert.match(String(error?.code), /^(ARCHIVE_INVALID|IMAGE_NOT_FOUND)$/, `cut at ${size}`);
  }
});
