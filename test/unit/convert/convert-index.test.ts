// Conversions into an index: every platform, originals beside, and knowing what is there already.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { BUILD_DEFAULTS } from '../../../src/convert/build-options.ts';
import { convertIndex, type IndexOptions, planIndex } from '../../../src/convert/convert-index.ts';
import {
  convertIndexReference,
  convertReference,
  type ReferenceOptions,
  upToDate,
} from '../../../src/convert/convert-reference.ts';
import { sha256Digest } from '../../../src/format/oci/digest.ts';
import { MEDIA_TYPES } from '../../../src/format/oci/media-types.ts';
import { openConvertedImage } from '../../../src/transport/image.ts';
import { openSource, openTarget } from '../../../src/transport/open.ts';
import { noise, type SmallFiles, smallImage, writeSmallLayout } from '../../support/small-image.ts';
import { temporaryDir } from '../../support/temporary.ts';

const scratch = temporaryDir('convert-index');
after(() => scratch[Symbol.dispose]());
let count = 0;
const place = () => join(scratch.path, `layout-${count++}`);
const { signal } = new AbortController();
const hooks = { signal };

type Entry = Readonly<Record<string, unknown>> & {
  readonly digest: string;
  readonly platform?: Record<string, string>;
};

/** A layout with one index, `v1`: an image for each architecture, one for Windows and a build record. */
async function layoutOfIndex(files: SmallFiles): Promise<{ directory: string; entries: Entry[]; digest: string }> {
  const directory = place();
  const entries: Entry[] = [];
  for (const [os, architecture] of [
    ['linux', 'amd64'],
    ['linux', 'arm64'],
    ['windows', 'amd64'],
    ['unknown', 'unknown'],
  ] as const) {
    const image = await smallImage([{ ...files, architecture }], { architecture });
    writeSmallLayout(directory, image, 'part');
    const { mediaType, digest, bytes } = image.manifest;
    entries.push({
      mediaType,
      digest,
      size: bytes.length,
      platform: { os, architecture },
      urls: ['https://a.example'],
    });
  }
  const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: entries, annotations: { kept: 'yes' } };
  const bytes = Buffer.from(JSON.stringify(index));
  const digest = sha256Digest(bytes);
  writeFileSync(join(directory, 'blobs', 'sha256', digest.slice(7)), bytes);
  const annotations = { 'org.opencontainers.image.ref.name': 'v1' };
  const named = { mediaType: MEDIA_TYPES.ociIndex, digest, size: bytes.length, annotations };
  writeFileSync(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [named] }));
  return { directory, entries, digest };
}

const FILES: SmallFiles = { 'a.txt': 'a', large: noise(300_000) };
const settings = (options: Partial<ReferenceOptions & IndexOptions>) => ({ ...BUILD_DEFAULTS, ...options });
const json = (directory: string, digest: string) =>
  JSON.parse(readFileSync(join(directory, 'blobs', digest.replace(':', '/')), 'utf8'));

async function architectureOf(reference: string, platform: string): Promise<string | undefined> {
  await using image = await openConvertedImage(reference, { platform });
  return image.config?.architecture;
}

test('every image for Linux is converted, into an index that says of what', async () => {
  const { directory, entries, digest } = await layoutOfIndex(FILES);
  const to = `oci:${place()}:out`;
  const report = await convertIndexReference(`oci:${directory}:v1`, to, settings({ allPlatforms: true }), hooks);
  const target = to.slice('oci:'.length, -':out'.length);
  const index = json(target, report.manifest);
  assert.equal(index.mediaType, MEDIA_TYPES.ociIndex);
  assert.deepEqual(
    index.manifests.map((entry: Entry) => [entry.platform, entry.artifactType]),
    [entries[0], entries[1]].map((entry) => [entry?.platform, undefined]),
  );
  const { kept, 'containerd.io/snapshot/nydus-source-digest': source } = index.annotations;
  assert.deepEqual([kept, source], ['yes', digest]);
  assert.deepEqual(
    report.images.map(({ platform }) => platform),
    ['linux/amd64', 'linux/arm64'],
  );
  assert.deepEqual(report.leftOut, ['windows/amd64', 'unknown/unknown']);
  for (const architecture of ['amd64', 'arm64']) {
    assert.equal(await architectureOf(to, `linux/${architecture}`), architecture);
  }
  const again = await convertIndexReference(
    `oci:${directory}:v1`,
    `oci:${place()}:out`,
    settings({ allPlatforms: true }),
    hooks,
  );
  assert.equal(again.manifest, report.manifest);
});

test('one tag for both kinds: originals as they were, first; converting it again in its place is nothing to do', async () => {
  const { directory, entries } = await layoutOfIndex(FILES);
  const name = `oci:${directory}:v1`;
  const options = settings({ allPlatforms: true, withOriginal: true });
  const report = await convertIndexReference(name, name, options, hooks);
  const { manifests } = json(directory, report.manifest);
  assert.deepEqual(manifests.slice(0, 4), entries);
  assert.deepEqual(
    manifests.slice(4).map((entry: Entry) => [entry.platform?.architecture, entry.artifactType]),
    ['amd64', 'arm64'].map((architecture) => [architecture, 'application/vnd.nydus.image.manifest.v1+json']),
  );
  for (const { digest } of manifests.slice(4)) {
    assert.equal(json(directory, digest).config.mediaType, 'application/vnd.nydus.image.config.v1+json');
  }
  assert.equal(await architectureOf(name, 'linux/arm64'), 'arm64');
  assert.equal((await upToDate(name, name, options, signal))?.manifest, report.manifest);
  assert.equal((await convertIndexReference(name, name, options, hooks)).manifest, report.manifest);
});

for (const options of [
  settings({ allPlatforms: true, withOriginal: true }),
  settings({ platform: 'linux/arm64', withOriginal: true }),
]) {
  test(`no manifest is asked for twice: ${options.platform ?? 'all platforms'}`, async () => {
    const { directory, digest } = await layoutOfIndex(FILES);
    await using source = await openSource(`oci:${directory}:v1`);
    const asked: string[] = [];
    const manifest = source.manifest.bind(source);
    source.manifest = (descriptor, ...rest) => {
      asked.push(descriptor.digest);
      return manifest(descriptor, ...rest);
    };
    const plan = await planIndex(source, options, signal);
    await using target = await openTarget(`oci:${place()}:out`);
    await convertIndex(source, plan, target, options, hooks);
    // The root, the images for Linux and the build record; what is called Windows' has the manifest of an image for Linux.
    assert.equal(asked.length, options.allPlatforms ? 4 : 2, `${asked}`);
    assert.equal(new Set([...asked, digest]).size, asked.length);
  });
}

test('one image with its original beside it; to another place its blobs come along', async () => {
  const { directory, entries } = await layoutOfIndex(FILES);
  const target = place();
  const options = settings({ platform: 'linux/arm64', withOriginal: true });
  const report = await convertIndexReference(`oci:${directory}:v1`, `oci:${target}:out`, options, hooks);
  const { manifests } = json(target, report.manifest);
  assert.deepEqual(
    manifests.map(({ digest }: Entry) => digest === entries[1]?.digest),
    [true, false],
  );
  const { config, layers } = json(target, manifests[0].digest);
  const there = new Set(readdirSync(join(target, 'blobs', 'sha256')));
  for (const { digest } of [config, ...layers]) assert.ok(there.has(digest.slice(7)), digest);
});

test('what was made of the same source with the same options is known, and nothing else is', async () => {
  const { directory } = await layoutOfIndex(FILES);
  const [from, to] = [`oci:${directory}:v1`, `oci:${place()}:out`];
  const options = settings({ platform: 'linux/amd64' });
  assert.equal(await upToDate(from, to, options, signal), undefined);
  const { manifest } = await convertReference(from, to, options, hooks);
  assert.equal((await upToDate(from, to, options, signal))?.manifest, manifest);
  for (const other of [
    { chunkSize: 65_536 },
    { compressor: 'lz4' as const },
    { level: 4 },
    { digester: 'sha256' as const },
    { prefetch: [['a.txt']] },
    { platform: 'linux/arm64' },
    { withOriginal: true },
    { platform: undefined, allPlatforms: true },
  ]) {
    assert.equal(await upToDate(from, to, { ...options, ...other }, signal), undefined, JSON.stringify(other));
  }
  const changed = await layoutOfIndex({ ...FILES, 'a.txt': 'b' });
  assert.equal(await upToDate(`oci:${changed.directory}:v1`, to, options, signal), undefined);
});

test('an index without an image for Linux, a directory with an original, one name without it: refused', async () => {
  const { directory } = await layoutOfIndex(FILES);
  const name = `oci:${directory}:v1`;
  const refuses = (from: string, to: string, options: Partial<IndexOptions>, code: string) =>
    assert.rejects(convertIndexReference(from, to, settings(options), hooks), { code });
  await refuses(name, name, { allPlatforms: true }, 'USAGE');
  const root = place();
  mkdirSync(root);
  await refuses(`dir:${root}`, `oci:${place()}:x`, { withOriginal: true }, 'USAGE');
  const bytes = readFileSync(join(directory, 'index.json'), 'utf8');
  const { manifests } = JSON.parse(bytes);
  const index = json(directory, manifests[0].digest);
  const others = Buffer.from(JSON.stringify({ ...index, manifests: index.manifests.slice(2) }));
  const digest = sha256Digest(others);
  writeFileSync(join(directory, 'blobs', 'sha256', digest.slice(7)), others);
  writeFileSync(
    join(directory, 'index.json'),
    JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifests[0], digest, size: others.length }] }),
  );
  await refuses(name, `oci:${place()}:x`, { allPlatforms: true }, 'PLATFORM_NOT_FOUND');
});
