// Converted images opened from a layout, a registry and a bootstrap file.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { sha256Digest } from '../../../src/format/oci/digest.ts';
import type { Descriptor, RawManifest } from '../../../src/format/oci/manifest.ts';
import { MEDIA_TYPES } from '../../../src/format/oci/media-types.ts';
import { startRegistry } from '../../../src/registry-server/start.ts';
import { openConvertedImage } from '../../../src/transport/image.ts';
import { openTarget } from '../../../src/transport/open.ts';
import { convertedTree } from '../../support/converted-tree.ts';
import { smallImage, smallTar } from '../../support/small-image.ts';
import { temporaryDir } from '../../support/temporary.ts';

const tree = convertedTree({ etc: { motd: 'hello '.repeat(2000) }, empty: '' });
const bootstrap = Buffer.from(tree.bootstrap.bytes);

const BOOTSTRAP = { 'containerd.io/snapshot/nydus-bootstrap': 'true' };
const describe = (mediaType: string, bytes: Uint8Array, annotations?: Record<string, string>): Descriptor => ({
  mediaType,
  digest: sha256Digest(bytes),
  size: bytes.length,
  ...(annotations ? { annotations } : {}),
});
const configBytes = Buffer.from(
  JSON.stringify({
    os: 'linux',
    architecture: 'amd64',
    rootfs: { type: 'layers', diff_ids: [] },
    config: { Cmd: ['x'] },
  }),
);

interface Made {
  readonly manifest: RawManifest;
  readonly blobs: readonly (readonly [Descriptor, Buffer])[];
}

/** A converted image whose bootstrap layer is `layer`. */
function converted(layer: Buffer): Made {
  const config = describe(MEDIA_TYPES.ociConfig, configBytes);
  const data = describe('application/vnd.oci.image.layer.nydus.blob.v1', tree.blob, {
    'containerd.io/snapshot/nydus-blob': 'true',
  });
  const last = describe(MEDIA_TYPES.ociLayerGzip, layer, BOOTSTRAP);
  const document = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config, layers: [data, last] };
  const bytes = Buffer.from(JSON.stringify(document));
  return {
    manifest: { mediaType: MEDIA_TYPES.ociManifest, digest: sha256Digest(bytes), bytes },
    blobs: [
      [config, configBytes],
      [data, tree.blob],
      [last, layer],
    ],
  };
}

async function put(reference: string, made: Made): Promise<void> {
  await using target = await openTarget(reference);
  for (const [descriptor, bytes] of made.blobs) await target.putBytes(descriptor, bytes);
  await target.commit(made.manifest);
}

const good = converted(gzipSync(await smallTar({ 'image/image.boot': bootstrap })));

async function assertOpens(reference: string, made: Made): Promise<void> {
  await using image = await openConvertedImage(reference, { platform: 'linux/amd64' });
  assert.equal(image.name, reference);
  assert.deepEqual(Buffer.from(image.bootstrapBytes), bootstrap);
  assert.equal(image.bootstrap.blobs.length, 1);
  assert.equal(image.manifestDigest, made.manifest.digest);
  assert.deepEqual(image.config?.config.Cmd, ['x']);
  assert.equal(image.hasBlobs, true);
  assert.equal(image.blobSize(tree.blobId), tree.blob.length);
  assert.equal(image.blobSize('0'.repeat(64)), undefined);
  const read = await image.blobReader(tree.blobId).readAt({ offset: 5, size: 50 });
  assert.deepEqual(Buffer.from(read), tree.blob.subarray(5, 55));
  const layer = made.blobs[2]?.[0].size ?? 0;
  assert.equal(image.metadataBytes, made.manifest.bytes.length + configBytes.length + layer);
}

test('image: from a layout, an archive and a registry', async () => {
  using work = temporaryDir();
  await using server = await startRegistry({ root: join(work.path, 'registry'), host: '127.0.0.1', port: 0 });
  const places = [
    `oci:${work.path}/layout:v1`,
    `oci-archive:${work.path}/a.tar:v1`,
    `docker://${server.host}/team/app:v1`,
  ];
  for (const reference of places) {
    await put(reference, good);
    await assertOpens(reference, good);
  }
  // Manifest, config and bootstrap layer; the blob is not fetched but for the range.
  assert.equal(server.stats().requests.blob, 3 + 3);
  assert.ok(server.stats().bytesSent.blob < tree.blob.length);
});

for (const [name, path] of [
  ['./ in front', './image/image.boot'],
  ['/ in front', '/image/image.boot'],
  ['the older name', 'image.boot'],
] as const) {
  test(`image: the bootstrap with ${name}, among other files`, async () => {
    using work = temporaryDir();
    const tar = await smallTar({ 'image/backend.json': '{}', [path]: bootstrap, 'image/prefetch.files': '/x' });
    const made = converted(gzipSync(tar));
    await put(`oci:${work.path}:v1`, made);
    await assertOpens(`oci:${work.path}:v1`, made);
  });
}

const tar = await smallTar({ 'image/image.boot': bootstrap });
const refused: readonly (readonly [name: string, layer: Buffer, code: string])[] = [
  ['without a bootstrap', gzipSync(await smallTar({ 'image/other': 'x' })), 'BOOTSTRAP_INVALID'],
  ['with a directory in its place', gzipSync(await smallTar({ 'image.boot/x': 'x' })), 'BOOTSTRAP_INVALID'],
  ['with another file in its place', gzipSync(await smallTar({ 'image/image.boot': 'x' })), 'BOOTSTRAP_INVALID'],
  ['that is cut short', gzipSync(tar).subarray(0, -20), 'ARCHIVE_INVALID'],
  ['whose tar is cut short', gzipSync(tar.subarray(0, 2000)), 'ARCHIVE_INVALID'],
  ['that is no tar', gzipSync(Buffer.alloc(5000, 'x')), 'ARCHIVE_INVALID'],
  ['that is nothing', Buffer.alloc(0), 'BOOTSTRAP_INVALID'],
];
for (const [name, layer, code] of refused) {
  test(`image: refuses a bootstrap layer ${name}`, async () => {
    using work = temporaryDir();
    await put(`oci:${work.path}:v1`, converted(layer));
    await assert.rejects(openConvertedImage(`oci:${work.path}:v1`, { platform: 'linux/amd64' }), { code });
  });
}

test('image: a bootstrap layer that is not of its digest', async () => {
  using work = temporaryDir();
  await put(`oci:${work.path}:v1`, good);
  const [last] = good.blobs.slice(-1);
  assert.ok(last);
  const path = join(work.path, 'blobs/sha256', last[0].digest.slice(7));
  const bytes = readFileSync(path);
  // The time in the gzip header: it decompresses as before.
  bytes.writeUInt8(bytes.readUInt8(4) ^ 0xff, 4);
  writeFileSync(path, bytes);
  await assert.rejects(openConvertedImage(`oci:${work.path}:v1`, { platform: 'linux/amd64' }), {
    code: 'DIGEST_MISMATCH',
  });
});

test('image: an ordinary image says how to convert it', async () => {
  using work = temporaryDir();
  const plain = await smallImage([{ a: 'x' }]);
  {
    await using target = await openTarget(`oci:${work.path}:v1`);
    for (const { descriptor, bytes } of [plain.config, ...plain.layers]) await target.putBytes(descriptor, bytes);
    await target.commit(plain.manifest);
  }
  await assert.rejects(openConvertedImage(`oci:${work.path}:v1`, { platform: 'linux/amd64' }), {
    code: 'NOT_CONVERTED',
    hint: /naiad convert oci:/,
  });
});

test('image: of an index of both kinds, the converted one', async () => {
  using work = temporaryDir();
  const plain = await smallImage([{ a: 'x' }]);
  const platform = { os: 'linux', architecture: 'amd64' };
  const entry = ({ digest, mediaType, bytes }: RawManifest) => ({ mediaType, digest, size: bytes.length, platform });
  const artifactType = 'application/vnd.nydus.image.manifest.v1+json';
  const document = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociIndex,
    manifests: [entry(plain.manifest), { ...entry(good.manifest), artifactType }],
  };
  const bytes = Buffer.from(JSON.stringify(document));
  {
    await using target = await openTarget(`oci:${work.path}:v1`);
    for (const { descriptor, bytes: blob } of [plain.config, ...plain.layers]) await target.putBytes(descriptor, blob);
    for (const [descriptor, blob] of good.blobs) await target.putBytes(descriptor, blob);
    await target.putManifest(plain.manifest);
    await target.putManifest(good.manifest);
    await target.commit({ mediaType: MEDIA_TYPES.ociIndex, digest: sha256Digest(bytes), bytes });
  }
  await using image = await openConvertedImage(`oci:${work.path}:v1`, { platform: 'linux/amd64' });
  assert.equal(image.manifestDigest, good.manifest.digest);
});

test('image: a bootstrap file, with its blobs beside it, elsewhere, or nowhere', async () => {
  using work = temporaryDir();
  const file = join(work.path, 'image.boot');
  const elsewhere = join(work.path, 'blobs');
  mkdirSync(elsewhere);
  writeFileSync(file, bootstrap);
  {
    await using image = await openConvertedImage(file);
    assert.equal(image.hasBlobs, false);
    assert.equal(image.manifest, undefined);
    await assert.rejects(image.blobReader(tree.blobId).readAt({ offset: 0, size: 1 }), { code: 'BLOB_NOT_FOUND' });
    assert.throws(() => image.blobReader('../../etc/passwd'), { code: 'BOOTSTRAP_INVALID' });
    // A blob that comes later is found by the reader that missed it.
    const reader = image.blobReader(tree.blobId);
    writeFileSync(join(work.path, tree.blobId), tree.blob);
    assert.equal((await reader.readAt({ offset: 0, size: 6 })).length, 6);
    rmSync(join(work.path, tree.blobId));
  }
  writeFileSync(join(elsewhere, tree.blobId), tree.blob);
  {
    await using image = await openConvertedImage(file, { blobDir: elsewhere });
    assert.equal(image.hasBlobs, true);
    assert.equal(image.blobSize(tree.blobId), tree.blob.length);
    const read = await image.blobReader(tree.blobId).readAt({ offset: 0, size: 6 });
    assert.equal(Buffer.from(read).toString(), 'hello ');
  }
  await assert.rejects(openConvertedImage(work.path), { code: 'REFERENCE_INVALID', hint: /oci:/ });
  await assert.rejects(openConvertedImage(join(work.path, 'nope')), { code: 'PATH_NOT_FOUND' });
});

test('image: a broken bootstrap is an error, later when asked leniently', async () => {
  using work = temporaryDir();
  const file = join(work.path, 'image.boot');
  writeFileSync(file, Buffer.alloc(8192));
  await assert.rejects(openConvertedImage(file), { code: 'BOOTSTRAP_INVALID' });
  await using image = await openConvertedImage(file, { lenient: true });
  assert.equal(image.bootstrapBytes.length, 8192);
  assert.equal(image.hasBlobs, false);
  assert.throws(() => image.bootstrap, { code: 'BOOTSTRAP_INVALID' });
});
