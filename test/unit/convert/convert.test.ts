// Conversions of small images from and to OCI layouts: what comes out, and what is left when they fail.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { version } from '../../../src/base/version.ts';
import { BUILD_DEFAULTS } from '../../../src/convert/build-options.ts';
import { convertReference, type ReferenceOptions } from '../../../src/convert/convert-reference.ts';
import { checkBootstrap } from '../../../src/image/check.ts';
import { openConvertedImage } from '../../../src/transport/image.ts';
import { addon } from '../../support/requires.ts';
import { noise, type SmallFiles, type SmallImage, smallImage, writeSmallLayout } from '../../support/small-image.ts';
import { temporaryDir } from '../../support/temporary.ts';

const scratch = temporaryDir('convert');
after(() => scratch[Symbol.dispose]());
let count = 0;

function place(name: string): string {
  return join(scratch.path, `${name}-${count++}`);
}

function layoutOf(image: SmallImage): string {
  const directory = place('source');
  writeSmallLayout(directory, image, 'v1');
  return directory;
}

const never = new AbortController().signal;

async function converted(from: string, options: Partial<ReferenceOptions> = {}, signal = never) {
  const directory = place('target');
  const settings = { ...BUILD_DEFAULTS, platform: 'linux/amd64', ...options };
  const report = await convertReference(from, `oci:${directory}:out`, settings, { signal });
  return { directory, report };
}

const blobIn = (directory: string, digest: string) => readFileSync(join(directory, 'blobs', digest.replace(':', '/')));
const json = (bytes: Buffer) => JSON.parse(bytes.toString());

const LAYERS: SmallFiles[] = [
  { 'bin/a': noise(2_500_000), 'etc/gone': 'gone', 'etc/kept': 'kept', only: noise(100_000, '2') },
  { 'etc/.wh.gone': '', 'bin/b': noise(2_500_000), 'etc/new': 'new' },
  { '.wh.only': '' },
];

test('manifest, config and layers are as Nydus’ tools expect them', async () => {
  const image = await smallImage(LAYERS);
  const source = layoutOf(image);
  const { directory, report } = await converted(`oci:${source}:v1`);
  const manifest = json(blobIn(directory, report.manifest));
  const config = json(blobIn(directory, manifest.config.digest));
  const [first, second, bootstrap] = manifest.layers;
  assert.deepEqual(manifest.annotations, {
    'containerd.io/snapshot/nydus-fs-version': '6',
    'containerd.io/snapshot/nydus-source-digest': image.manifest.digest,
    'containerd.io/snapshot/nydus-builder-version': `naiad ${version()}`,
    'dev.naiad.options': 'zstd:3 chunks:1048576 blake3',
  });
  assert.equal(manifest.mediaType, 'application/vnd.oci.image.manifest.v1+json');
  assert.equal(manifest.config.mediaType, 'application/vnd.oci.image.config.v1+json');
  for (const layer of [first, second]) {
    assert.equal(layer.mediaType, 'application/vnd.oci.image.layer.nydus.blob.v1');
    assert.deepEqual(layer.annotations, { 'containerd.io/snapshot/nydus-blob': 'true' });
  }
  assert.equal(manifest.layers.length, 3);
  assert.equal(bootstrap.mediaType, 'application/vnd.oci.image.layer.v1.tar+gzip');
  assert.deepEqual(bootstrap.annotations, {
    'containerd.io/snapshot/nydus-bootstrap': 'true',
    'containerd.io/snapshot/nydus-fs-version': '6',
  });
  const tar = gunzipSync(blobIn(directory, bootstrap.digest));
  const diffId = `sha256:${createHash('sha256').update(tar).digest('hex')}`;
  assert.deepEqual(config.rootfs, { type: 'layers', diff_ids: [first.digest, second.digest, diffId] });
  assert.deepEqual(config.config, { Cmd: ['/hello'] });
  assert.deepEqual(
    config.history.map(
      (step: { empty_layer?: boolean; comment?: string }) => step.comment ?? step.empty_layer ?? false,
    ),
    [false, false, true, 'Nydus Bootstrap Layer'],
  );
  const modified = blobIn(directory, bootstrap.digest).readUInt32LE(4);
  assert.equal(modified, 0, 'no time in the gzip header');
});

test('the second layer refers to what the first one has', async () => {
  const { directory, report } = await converted(`oci:${layoutOf(await smallImage(LAYERS))}:v1`);
  await using opened = await openConvertedImage(`oci:${directory}:out`);
  assert.deepEqual(checkBootstrap(opened.bootstrapBytes).findings, []);
  const [a, b] = ['a', 'b'].map((name) => opened.bootstrap.resolve(['bin', name]) as number);
  assert.deepEqual(opened.bootstrap.chunkAddresses(a as number), opened.bootstrap.chunkAddresses(b as number));
  assert.equal(opened.bootstrap.resolve(['etc', 'gone']), undefined);
  assert.equal(opened.bootstrap.resolve(['only']), undefined);
  assert.deepEqual(
    report.layers.map(({ files, chunks, chunksStored }) => [files, chunks, chunksStored]),
    [
      [4, 6, 6],
      [2, 4, 4],
      [0, 0, 0],
    ],
  );
});

test('a blob that no file needs any more is not part of the image', async () => {
  const image = await smallImage([{ a: noise(1000, '1') }, { a: noise(1000, '2') }]);
  const { directory, report } = await converted(`oci:${layoutOf(image)}:v1`);
  const manifest = json(blobIn(directory, report.manifest));
  assert.equal(manifest.layers.length, 2);
  assert.equal(report.layers[0]?.blobId, undefined);
  assert.equal(readdirSync(join(directory, 'blobs', 'sha256')).length, 4);
});

test('an image without any file data is its bootstrap alone', async () => {
  const image = await smallImage([{ empty: '' }, { 'd/empty': '' }]);
  const { directory, report } = await converted(`oci:${layoutOf(image)}:v1`);
  assert.equal(json(blobIn(directory, report.manifest)).layers.length, 1);
  await using opened = await openConvertedImage(`oci:${directory}:out`);
  assert.deepEqual(checkBootstrap(opened.bootstrapBytes).findings, []);
});

test('the same digests, whatever runs at once', async () => {
  const many = Array.from({ length: 12 }, (_, index) => ({
    [`f${index}`]: noise(700_000, `${index}`),
    shared: noise(50_000, `${index % 3}`),
    ...Object.fromEntries(Array.from({ length: 50 }, (_, file) => [`d${index}/${file}`, `${index} ${file}`])),
  }));
  const source = `oci:${layoutOf(await smallImage(many))}:v1`;
  const manifests = new Set<string>();
  for (const options of [{ jobs: 1 }, { jobs: 2 }, { jobs: 7 }, { workers: 1 }, { workers: 3, jobs: 12 }]) {
    manifests.add((await converted(source, options)).report.manifest);
  }
  assert.equal(manifests.size, 1);
});

for (const options of [
  { compressor: 'lz4' },
  { compressor: 'none', digester: 'sha256' },
  { level: 19 },
  { chunkSize: 4096 },
  { chunkSize: 16 << 20, digester: 'sha256' },
] as const satisfies Partial<ReferenceOptions>[]) {
  test(`options ${JSON.stringify(options)} reach the bootstrap`, async () => {
    const { directory } = await converted(`oci:${layoutOf(await smallImage(LAYERS))}:v1`, options);
    await using opened = await openConvertedImage(`oci:${directory}:out`);
    assert.deepEqual(checkBootstrap(opened.bootstrapBytes).findings, []);
    const [blob] = opened.bootstrap.blobs;
    const { compressor, digester, chunkSize } = { ...BUILD_DEFAULTS, ...options };
    assert.deepEqual([blob?.compressor, blob?.digester, opened.bootstrap.chunkSize], [compressor, digester, chunkSize]);
  });
}

test('prefetched paths are listed in their order, those that are not there left out', async () => {
  const prefetch = [['etc'], ['absent'], ['bin', 'a'], []];
  const { directory } = await converted(`oci:${layoutOf(await smallImage(LAYERS))}:v1`, { prefetch });
  await using opened = await openConvertedImage(`oci:${directory}:out`);
  const nids = [['etc'], ['bin', 'a'], []].map((path) => opened.bootstrap.resolve(path));
  assert.deepEqual([...opened.bootstrap.prefetchNids()], nids);
});

test('a root directory becomes an image of one layer', { skip: addon().skip }, async () => {
  const root = place('root');
  mkdirSync(join(root, 'd'), { recursive: true });
  writeFileSync(join(root, 'd', 'f'), 'content');
  writeFileSync(join(root, '.wh.f'), 'a name like any other');
  const { directory, report } = await converted(`dir:${root}`, { platform: 'linux/arm64' });
  const manifest = json(blobIn(directory, report.manifest));
  const config = json(blobIn(directory, manifest.config.digest));
  assert.deepEqual([config.os, config.architecture], ['linux', 'arm64']);
  await using opened = await openConvertedImage(`oci:${directory}:out`);
  assert.ok(opened.bootstrap.resolve(['d', 'f']));
  assert.ok(opened.bootstrap.resolve(['.wh.f']));
});

/** The layout with one file of its changed. */
function damaged(image: SmallImage, change: (blobs: string) => void): string {
  const directory = layoutOf(image);
  change(join(directory, 'blobs', 'sha256'));
  return `oci:${directory}:v1`;
}

const small = await smallImage([{ a: noise(50_000) }, { b: noise(50_000, '2') }]);
const layerFile = (index: number) => small.layers[index]?.descriptor.digest.slice('sha256:'.length) as string;

for (const { name, source, code, message } of [
  {
    name: 'a layer that was changed in its place',
    source: damaged(small, (blobs) => {
      const path = join(blobs, layerFile(1));
      const bytes = readFileSync(path);
      bytes.writeUInt8(bytes.readUInt8(bytes.length - 3) ^ 1, bytes.length - 3);
      writeFileSync(path, bytes);
    }),
    code: /^(DIGEST_MISMATCH|ARCHIVE_INVALID)$/,
    message: /./,
  },
  {
    name: 'a layer that is not there',
    source: damaged(small, (blobs) => writeFileSync(join(blobs, layerFile(0)), '')),
    code: /^SIZE_MISMATCH$/,
    message: /expected \d+ bytes/,
  },
  {
    name: 'a config of other layers',
    source: `oci:${layoutOf(await withConfigOf(small, await smallImage([{ a: '1' }, { b: '2' }])))}:v1`,
    code: /^DIGEST_MISMATCH$/,
    message: /layer sha256:\w+: uncompressed layer: the config says/,
  },
  {
    name: 'a config with fewer layers',
    source: `oci:${layoutOf(await withConfigOf(small, await smallImage([{ a: '1' }])))}:v1`,
    code: /^MANIFEST_INVALID$/,
    message: /2 layers in the manifest, 1 in the config/,
  },
  {
    name: 'a layer that leaves the tree',
    source: `oci:${layoutOf(await smallImage([{ '../escape': 'x' }]))}:v1`,
    code: /^PATH_UNSAFE$/,
    message: /"\.\.\/escape"/,
  },
]) {
  test(`refuses ${name}, and leaves no target`, async () => {
    const directory = place('target');
    const conversion = convertReference(
      source,
      `oci:${directory}`,
      { ...BUILD_DEFAULTS, platform: 'linux/amd64' },
      { signal: never },
    );
    await assert.rejects(conversion, (error: Error & { code: string }) => {
      assert.match(error.code, code);
      assert.match(error.message, message);
      return true;
    });
    assert.equal(existsSync(directory), false);
  });
}

/** An image whose manifest names the config of another one. */
async function withConfigOf(image: SmallImage, other: SmallImage): Promise<SmallImage> {
  const document = { ...json(Buffer.from(image.manifest.bytes)), config: other.config.descriptor };
  const bytes = Buffer.from(JSON.stringify(document));
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  return { ...image, config: other.config, manifest: { ...image.manifest, bytes, digest } };
}

test('a converted image is not converted again', async () => {
  const { directory } = await converted(`oci:${layoutOf(small)}:v1`);
  await assert.rejects(converted(`oci:${directory}:out`), { code: 'ALREADY_CONVERTED', hint: /Convert the original/ });
});

test('source and target must not be the same', async () => {
  const source = `oci:${layoutOf(small)}:v1`;
  const conversion = convertReference(source, source, BUILD_DEFAULTS, { signal: never });
  await assert.rejects(conversion, { code: 'USAGE' });
});

test('other images of a layout stay when one is added', async () => {
  const directory = layoutOf(small);
  await convertReference(
    `oci:${directory}:v1`,
    `oci:${directory}:out`,
    { ...BUILD_DEFAULTS, platform: 'linux/amd64' },
    { signal: never },
  );
  assert.equal(json(readFileSync(join(directory, 'index.json'))).manifests.length, 2);
  assert.deepEqual(readdirSync(directory).sort(), ['blobs', 'index.json', 'oci-layout']);
});

test('an interrupted conversion leaves nothing, at whatever point', async () => {
  const image = await smallImage([{ a: noise(3_000_000) }, { b: noise(3_000_000, '2') }, { c: noise(3_000_000, '3') }]);
  const source = `oci:${layoutOf(image)}:v1`;
  const total = image.layers.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
  for (const part of [0, 0.3, 0.6, 1]) {
    const stop = new AbortController();
    const directory = place('target');
    const onProgress = ({ done }: { done: number }) => {
      if (done >= part * total) stop.abort();
    };
    const conversion = convertReference(
      source,
      `oci:${directory}`,
      { ...BUILD_DEFAULTS, platform: 'linux/amd64' },
      { signal: stop.signal, onProgress },
    );
    await assert.rejects(conversion, { code: 'CANCELED' }, `after ${part} of the source`);
    assert.equal(existsSync(directory), false);
  }
});

test('layers are taken by what they are, not by what they are called', async () => {
  const [first] = small.layers;
  assert.ok(first);
  const plain = { ...first, bytes: first.tar };
  const digest = `sha256:${createHash('sha256').update(plain.bytes).digest('hex')}`;
  const descriptor = { ...first.descriptor, digest, size: plain.bytes.length };
  const document = { ...json(Buffer.from(small.manifest.bytes)), layers: [descriptor, small.layers[1]?.descriptor] };
  const bytes = Buffer.from(JSON.stringify(document));
  const image: SmallImage = {
    ...small,
    layers: [{ ...plain, descriptor }, ...small.layers.slice(1)],
    manifest: { ...small.manifest, bytes, digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}` },
  };
  const { report } = await converted(`oci:${layoutOf(image)}:v1`);
  const { report: ordinary } = await converted(`oci:${layoutOf(small)}:v1`);
  assert.deepEqual(
    report.layers.map(({ blobId }) => blobId),
    ordinary.layers.map(({ blobId }) => blobId),
  );
  assert.equal(gzipSync(first.tar).length, first.descriptor.size);
});
