// OCI layouts and archives as sources and targets, on a real file system and against what other tools write.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { sha256Digest } from '../../../src/format/oci/digest.ts';
import { MEDIA_TYPES } from '../../../src/format/oci/media-types.ts';
import { openSource, openTarget } from '../../../src/transport/open.ts';
import { readConfig, resolveImage } from '../../../src/transport/resolve.ts';
import type { ImageTarget } from '../../../src/transport/transport.ts';
import { program } from '../../support/requires.ts';
import { runTool } from '../../support/run-tool.ts';
import { noise, type SmallImage, smallImage, writeSmallLayout } from '../../support/small-image.ts';
import { temporaryDir } from '../../support/temporary.ts';

const image = await smallImage([{ a: 'one' }, { b: noise(300_000) }]);
const other = await smallImage([{ c: 'two' }]);

/** Puts an image as a converter does: layers as files of the spool, the config as bytes, the manifest last. */
async function put(target: ImageTarget, from: SmallImage): Promise<void> {
  for (const { descriptor, bytes } of from.layers) {
    if (await target.hasBlob(descriptor)) continue;
    const path = join(target.spoolDir, 'unfinished');
    writeFileSync(path, bytes);
    await target.putBlob({ path, descriptor });
  }
  await target.putBytes(from.config.descriptor, from.config.bytes);
  await target.commit(from.manifest);
}

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** Everything of `want` must come out of the source, byte for byte. */
async function assertHolds(reference: string, want: SmallImage): Promise<void> {
  await using source = await openSource(reference);
  const resolved = await resolveImage(source, { platform: 'linux/amd64', converted: 'skip' });
  assert.equal(resolved.raw.digest, want.manifest.digest);
  const { bytes } = await readConfig(source, resolved.manifest);
  assert.deepEqual(Buffer.from(bytes), want.config.bytes);
  for (const [index, { descriptor, bytes: layer }] of want.layers.entries()) {
    assert.deepEqual(resolved.manifest.layers[index], descriptor);
    assert.deepEqual(await collect(await source.openBlob(descriptor)), layer);
    const range = { offset: 10, size: layer.length - 20 };
    assert.deepEqual(Buffer.from(await source.blobReader(descriptor).readAt(range)), layer.subarray(10, -10));
  }
}

for (const transport of ['oci', 'oci-archive'] as const) {
  test(`${transport}: what was put comes out, and nothing else is left`, async () => {
    using work = temporaryDir();
    const place = join(work.path, 'place');
    {
      await using target = await openTarget(`${transport}:${place}:v1`);
      await put(target, image);
    }
    assert.deepEqual(readdirSync(work.path), ['place']);
    await assertHolds(`${transport}:${place}:v1`, image);
    await assertHolds(`${transport}:${place}`, image);
    if (transport === 'oci') assert.deepEqual(readdirSync(place).sort(), ['blobs', 'index.json', 'oci-layout']);
  });

  test(`${transport}: a target that was given up leaves nothing`, async () => {
    using work = temporaryDir();
    {
      await using target = await openTarget(
        `${transport}:${join(work.path, transport === 'oci' ? 'new/deep/er' : 'file')}`,
      );
      await target.putBytes(image.config.descriptor, image.config.bytes);
    }
    assert.deepEqual(readdirSync(work.path), []);
  });

  test(`${transport}: a killed writer leaves nothing after the next run`, async () => {
    using work = temporaryDir();
    const reference = `${transport}:${join(work.path, 'place')}:v1`;
    const module = new URL('../../../src/transport/open.js', import.meta.url).href;
    const script = `const { openTarget } = await import(${JSON.stringify(module)});
      const target = await openTarget(${JSON.stringify(reference)});
      await target.putBytes({ digest: 'sha256:${'0'.repeat(64)}', size: 1 }, Buffer.from('x'));
      console.log('ready'); setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    child.kill('SIGKILL');
    await once(child, 'exit');
    assert.ok(existsSync(transport === 'oci' ? join(work.path, 'place') : work.path));
    {
      await using target = await openTarget(reference);
      await put(target, image);
    }
    await assertHolds(reference, image);
    assert.deepEqual(readdirSync(work.path), ['place']);
    if (transport === 'oci')
      assert.deepEqual(readdirSync(join(work.path, 'place')).sort(), ['blobs', 'index.json', 'oci-layout']);
  });
}

test('oci: other images of a layout stay, one of the same name goes, foreign fields are kept', async () => {
  using work = temporaryDir();
  writeSmallLayout(work.path, image, 'first');
  const indexPath = join(work.path, 'index.json');
  const index = JSON.parse(readFileSync(indexPath, 'utf8'));
  writeFileSync(indexPath, JSON.stringify({ ...index, annotations: { kept: 'yes' } }));
  for (const [tag, from] of [
    ['second', other],
    ['first', other],
    ['third', image],
  ] as const) {
    await using target = await openTarget(`oci:${work.path}:${tag}`);
    await put(target, from);
  }
  await assertHolds(`oci:${work.path}:first`, other);
  await assertHolds(`oci:${work.path}:second`, other);
  await assertHolds(`oci:${work.path}:third`, image);
  const after = JSON.parse(readFileSync(indexPath, 'utf8'));
  assert.equal(after.manifests.length, 3);
  assert.deepEqual(after.annotations, { kept: 'yes' });
  await assert.rejects(assertHolds(`oci:${work.path}`, image), {
    code: 'IMAGE_NOT_FOUND',
    message: /which image\?; it has: second, first, third/,
  });
  await assert.rejects(assertHolds(`oci:${work.path}:fourth`, image), {
    code: 'IMAGE_NOT_FOUND',
    message: /no image "fourth"/,
  });
});

test('oci: blobs that are there are not asked for again, and a file elsewhere stays', async () => {
  using work = temporaryDir();
  writeSmallLayout(join(work.path, 'layout'), image, 'v1');
  await using target = await openTarget(`oci:${work.path}/layout:v2`);
  const [layer] = image.layers;
  assert.ok(layer);
  assert.equal(await target.hasBlob(layer.descriptor), true);
  assert.equal(await target.hasBlob({ ...layer.descriptor, size: 1 }), false);
  const path = join(work.path, 'elsewhere');
  writeFileSync(path, 'hello');
  const descriptor = { digest: sha256Digest(Buffer.from('hello')), size: 5 };
  const seen: number[] = [];
  await target.putBlob({ path, descriptor }, { onProgress: (bytes) => seen.push(bytes) });
  assert.deepEqual(seen, [5]);
  assert.ok(statSync(path).isFile());
  await assert.rejects(target.putBlob({ path, descriptor: { digest: `sha256:${'1'.repeat(64)}`, size: 6 } }), {
    code: 'SIZE_MISMATCH',
  });
});

test('oci: an index and its manifests', async () => {
  using work = temporaryDir();
  const arm = await smallImage([{ arm: 'x' }], { architecture: 'arm64' });
  const entry = (of: SmallImage, architecture: string) => ({
    mediaType: of.manifest.mediaType,
    digest: of.manifest.digest,
    size: of.manifest.bytes.length,
    platform: { os: 'linux', architecture },
  });
  const document = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociIndex,
    manifests: [entry(image, 'amd64'), entry(arm, 'arm64')],
  };
  const bytes = Buffer.from(JSON.stringify(document));
  {
    await using target = await openTarget(`oci:${work.path}:both`);
    for (const part of [image, arm]) {
      for (const { descriptor, bytes: blob } of [part.config, ...part.layers]) await target.putBytes(descriptor, blob);
      await target.putManifest(part.manifest);
    }
    await target.commit({ mediaType: MEDIA_TYPES.ociIndex, digest: sha256Digest(bytes), bytes });
  }
  await assertHolds(`oci:${work.path}:both`, image);
  await using source = await openSource(`oci:${work.path}:both`);
  const chosen = await resolveImage(source, { platform: 'linux/arm64', converted: 'skip' });
  assert.equal(chosen.raw.digest, arm.manifest.digest);
  assert.equal(chosen.root.digest, sha256Digest(bytes));
  await assert.rejects(resolveImage(source, { platform: 'linux/s390x', converted: 'skip' }), {
    code: 'PLATFORM_NOT_FOUND',
  });
});

test('oci-archive: the same image gives the same bytes', async () => {
  using work = temporaryDir();
  for (const [name, order] of [
    ['one', [0, 1]],
    ['two', [1, 0]],
  ] as const) {
    await using target = await openTarget(`oci-archive:${work.path}/${name}:v1`);
    for (const index of order) {
      const layer = image.layers[index];
      assert.ok(layer);
      await target.putBytes(layer.descriptor, layer.bytes);
    }
    await target.putBytes(image.config.descriptor, image.config.bytes);
    await target.commit(image.manifest);
  }
  assert.deepEqual(readFileSync(join(work.path, 'one')), readFileSync(join(work.path, 'two')));
});

const refused: readonly (readonly [name: string, reference: (dir: string) => string, code: string])[] = [
  ['a source that is not there', (dir) => `oci:${dir}/nope`, 'IMAGE_NOT_FOUND'],
  ['an archive that is not there', (dir) => `oci-archive:${dir}/nope`, 'IMAGE_NOT_FOUND'],
  ['a directory without a layout', (dir) => `oci:${dir}`, 'IMAGE_NOT_FOUND'],
  ['a path alone', (dir) => dir, 'REFERENCE_INVALID'],
  ['a root directory', (dir) => `dir:${dir}`, 'REFERENCE_INVALID'],
  ['a compressed archive', (dir) => `oci-archive:${dir}/file.gz`, 'ARCHIVE_UNSUPPORTED'],
  ['an archive that is none', (dir) => `oci-archive:${dir}/file.txt`, 'ARCHIVE_INVALID'],
  ['a file as directory', (dir) => `oci:${dir}/file.txt`, 'IMAGE_NOT_FOUND'],
];
for (const [name, reference, code] of refused) {
  test(`source: refuses ${name}`, async () => {
    using work = temporaryDir();
    writeFileSync(join(work.path, 'file.gz'), Buffer.from([0x1f, 0x8b, 8, 0]));
    writeFileSync(join(work.path, 'file.txt'), noise(5000));
    await assert.rejects(
      async () => {
        await using source = await openSource(reference(work.path));
        await source.rootManifest();
      },
      { code },
    );
  });
}

test('target: refuses a directory of something else, a file and sources', async () => {
  using work = temporaryDir();
  writeFileSync(join(work.path, 'file'), '');
  for (const [reference, code] of [
    [`oci:${work.path}:v1`, 'TARGET_EXISTS'],
    [`oci:${work.path}/file`, 'TARGET_EXISTS'],
    [`oci-archive:${work.path}`, 'TARGET_EXISTS'],
    [`oci-archive:${work.path}/no/such`, 'PATH_NOT_FOUND'],
    [`docker-archive:${work.path}/x`, 'REFERENCE_INVALID'],
    [`dir:${work.path}`, 'REFERENCE_INVALID'],
    [`127.0.0.1:1/a@sha256:${'a'.repeat(64)}`, 'REFERENCE_INVALID'],
  ] as const) {
    await assert.rejects(openTarget(reference), { code }, reference);
  }
  assert.deepEqual(readdirSync(work.path), ['file']);
});

test('source: a damaged layout is noticed', async () => {
  using work = temporaryDir();
  writeSmallLayout(work.path, image, 'v1');
  const [layer] = image.layers;
  assert.ok(layer);
  const path = join(work.path, 'blobs/sha256', layer.descriptor.digest.slice(7));
  await using source = await openSource(`oci:${work.path}:v1`);
  writeFileSync(path, Buffer.alloc(layer.bytes.length));
  await assert.rejects(async () => collect(await source.openBlob(layer.descriptor)), { code: 'DIGEST_MISMATCH' });
  writeFileSync(path, layer.bytes.subarray(1));
  await assert.rejects(source.openBlob(layer.descriptor), { code: 'SIZE_MISMATCH' });
  await assert.rejects(source.blobReader(layer.descriptor).readAt({ offset: 0, size: layer.bytes.length }), {
    code: 'SIZE_MISMATCH',
  });
  await assert.rejects(source.openBlob({ digest: `sha256:${'0'.repeat(64)}`, size: 1 }), { code: 'BLOB_NOT_FOUND' });
  writeFileSync(join(work.path, 'blobs/sha256', image.manifest.digest.slice(7)), '{}');
  await assert.rejects(source.rootManifest(), { code: 'DIGEST_MISMATCH' });
  writeFileSync(join(work.path, 'oci-layout'), '{"imageLayoutVersion":"2.0.0"}');
  await assert.rejects(source.rootManifest(), { code: 'MANIFEST_INVALID' });
});

test('skopeo reads our archive and layout, and we read its archives', program('skopeo'), async () => {
  using work = temporaryDir();
  const at = (name: string) => join(work.path, name);
  mkdirSync(at('in'));
  writeSmallLayout(at('in'), image, 'v1');
  {
    await using target = await openTarget(`oci-archive:${at('ours.tar')}:v1`);
    await put(target, image);
    await using layout = await openTarget(`oci:${at('ours')}:v1`);
    await put(layout, image);
  }
  const skopeo = (...args: string[]) => runTool('skopeo', ['--insecure-policy', 'copy', ...args]);
  await skopeo(`oci-archive:${at('ours.tar')}:v1`, `oci:${at('back')}:v1`);
  await assertHolds(`oci:${at('back')}:v1`, image);
  await skopeo(`oci:${at('ours')}:v1`, `oci-archive:${at('theirs.tar')}:v1`);
  await assertHolds(`oci-archive:${at('theirs.tar')}:v1`, image);

  await skopeo(`oci:${at('in')}:v1`, `docker-archive:${at('docker.tar')}:h.x/app:1`);
  for (const reference of [`docker-archive:${at('docker.tar')}`, `docker-archive:${at('docker.tar')}:h.x/app:1`]) {
    await using source = await openSource(reference);
    const { manifest } = await resolveImage(source, { platform: 'linux/amd64', converted: 'skip' });
    for (const [index, layer] of manifest.layers.entries()) {
      const bytes = await collect(await source.openBlob(layer));
      assert.deepEqual(bytes, image.layers[index]?.tar);
      const read = await source.blobReader(layer).readAt({ offset: 512, size: 100 });
      assert.deepEqual(Buffer.from(read), bytes.subarray(512, 612));
    }
    assert.deepEqual((await readConfig(source, manifest)).config.config.Cmd, ['/hello']);
  }
  await using missing = await openSource(`docker-archive:${at('docker.tar')}:h.x/other:1`);
  await assert.rejects(missing.rootManifest(), { code: 'IMAGE_NOT_FOUND', message: /it has: h\.x\/app:1/ });
});
