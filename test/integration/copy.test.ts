// Images moved between registries, layouts and archives: the same digests everywhere, also as skopeo sees them.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { sha256Digest } from '../../src/format/oci/digest.ts';
import type { Descriptor, RawManifest } from '../../src/format/oci/manifest.ts';
import { MEDIA_TYPES } from '../../src/format/oci/media-types.ts';
import { getManifest, headManifest, putManifest } from '../../src/registry/manifests.ts';
import { listReferrers } from '../../src/registry/referrers.ts';
import { Registry } from '../../src/registry/transport.ts';
import { uploadBlob } from '../../src/registry/upload.ts';
import { startRegistry } from '../../src/registry-server/start.ts';
import { copyReference } from '../../src/transport/copy.ts';
import { openSource } from '../../src/transport/open.ts';
import { tagsOf } from '../../src/transport/tags.ts';
import { every, program } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { SERVER_KINDS, type ServerKind } from '../support/server-kinds.ts';
import { noise, smallImage, writeSmallLayout } from '../support/small-image.ts';
import { temporaryDir } from '../support/temporary.ts';

function document(mediaType: string, fields: object): RawManifest {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...fields }));
  return { mediaType, digest: sha256Digest(bytes), bytes };
}
const describe = ({ mediaType, digest, bytes }: RawManifest) => ({ mediaType, digest, size: bytes.length });

async function embedded(root: string) {
  return await startRegistry({ root, host: '127.0.0.1', port: 0 });
}

/** Two images, an index of both as `v1`, and something that refers to the first, in the repository `app`. */
async function fill(host: string) {
  await using registry = new Registry(host);
  const images = [await smallImage([{ a: noise(2_000_000) }]), await smallImage([{ b: 'two' }, { c: 'three' }])];
  const repository = 'team/app';
  for (const image of images) {
    for (const { descriptor, bytes } of [image.config, ...image.layers]) {
      await uploadBlob(registry, { repository, descriptor, open: () => bytes });
    }
    await putManifest(registry, { repository, selector: image.manifest.digest }, image.manifest);
  }
  const platforms = ['amd64', 'arm64'].map((architecture) => ({ os: 'linux', architecture }));
  const manifests = images.map(({ manifest }, at) => ({ ...describe(manifest), platform: platforms[at] }));
  const index = document(MEDIA_TYPES.ociIndex, { manifests });
  await putManifest(registry, { repository, selector: 'v1' }, index);
  const [first] = images;
  assert.ok(first);
  const note = document(MEDIA_TYPES.ociManifest, {
    ...{ artifactType: 'application/x-note', config: first.config.descriptor, layers: [] },
    subject: describe(first.manifest),
  });
  await putManifest(registry, { repository, selector: note.digest }, note);
  return { index, images, note, first };
}

const targets: readonly Pick<ServerKind, 'name' | 'requires' | 'start'>[] = [
  ...SERVER_KINDS,
  {
    name: 'the embedded registry',
    requires: { skip: false },
    async start() {
      const dir = temporaryDir('registry');
      const server = await embedded(dir.path);
      return {
        ...{ host: server.host, url: server.url, root: dir.path },
        async [Symbol.asyncDispose]() {
          await server.close();
          dir[Symbol.dispose]();
        },
      };
    },
  },
];
for (const { name, requires, start } of targets) {
  test(`copy: an index with all it names and what refers to it, to ${name}`, requires, async () => {
    using dir = temporaryDir('copy');
    await using from = await embedded(dir.path);
    await using to = await start({});
    const { index, images, note, first } = await fill(from.host);
    const target = `${to.host}/other/app:v2`;
    const options = { allPlatforms: true, referrers: true };
    const report = await copyReference(`${from.host}/team/app:v1`, target, options);
    assert.equal(report.digest, index.digest);
    assert.deepEqual({ manifests: report.manifests, referrers: report.referrers }, { manifests: 3, referrers: 1 });
    await using registry = new Registry(to.host);
    for (const { manifest } of images) {
      await getManifest(registry, { repository: 'other/app', selector: manifest.digest });
    }
    assert.equal(await headManifest(registry, { repository: 'other/app', selector: 'v2' }), index.digest);
    const listed = await listReferrers(registry, 'other/app', first.manifest.digest);
    assert.deepEqual(
      listed.map(({ digest, artifactType }) => ({ digest, artifactType })),
      [{ digest: note.digest, artifactType: 'application/x-note' }],
    );
    assert.ok((await tagsOf(`${to.host}/other/app`)).tags.includes('v2'));
    // Once more: nothing is sent but manifests, and the note is listed once.
    await copyReference(`${from.host}/team/app:v1`, target, options);
    assert.equal((await listReferrers(registry, 'other/app', first.manifest.digest)).length, 1);
  });
}

for (const [transport, name] of [
  ['oci', 'layout'],
  ['oci-archive', 'image.tar'],
]) {
  test(`copy: what refers to an image is listed beside it by ${transport}, without a name`, async () => {
    using dir = temporaryDir('copy');
    await using from = await embedded(dir.path);
    const { note, first } = await fill(from.host);
    const place = `${transport}:${join(dir.path, String(name))}`;
    const copy = async (to: string) => {
      const report = await copyReference(`${from.host}/team/app:v1`, to, { platform: 'linux/amd64', referrers: true });
      assert.equal(report.referrers, 1);
    };
    // Once more: it is listed once. The image is still the only one that has no name.
    for (let times = 0; times < 2; times++) await copy(place);
    if (transport === 'oci') await copy(`${place}:v1`);
    await using image = await openSource(transport === 'oci' ? `${place}:v1` : place);
    assert.equal((await image.rootManifest()).digest, first.manifest.digest);
    assert.equal((await image.manifest({ digest: note.digest })).digest, note.digest);
    const index = await indexOf(place);
    assert.deepEqual(
      index.filter(({ artifactType }) => artifactType !== undefined),
      [{ ...describe(note), artifactType: 'application/x-note' }],
    );
    assert.equal(index.length, transport === 'oci' ? 3 : 2);
  });
}

/** The entries of index.json of a layout or an archive. */
async function indexOf(place: string): Promise<Descriptor[]> {
  const [transport, path = ''] = place.split(':');
  const { stdout } =
    transport === 'oci'
      ? await runTool('cat', [join(path, 'index.json')])
      : await runTool('tar', ['-xOf', path, 'index.json']);
  return JSON.parse(stdout).manifests;
}

test('copy: within a registry blobs are mounted, not sent', async () => {
  using dir = temporaryDir('copy');
  await using server = await embedded(dir.path);
  const { first } = await fill(server.host);
  const before = server.stats();
  await copyReference(`${server.host}/team/app:v1`, `${server.host}/team/copy:v1`, { platform: 'linux/amd64' });
  const after = server.stats();
  assert.equal(after.bytesSent.blob, before.bytesSent.blob);
  await using registry = new Registry(server.host);
  const copied = await headManifest(registry, { repository: 'team/copy', selector: 'v1' });
  assert.equal(copied, first.manifest.digest);
});

test('copy: through a layout and an archive and back, as skopeo reads them', every(program('skopeo')), async () => {
  using dir = temporaryDir('copy');
  await using server = await embedded(join(dir.path, 'registry'));
  const image = await smallImage([{ a: 'one' }, { b: noise(1_500_000) }]);
  writeSmallLayout(join(dir.path, 'in'), image, 'v1');
  const places = [
    `oci:${dir.path}/in:v1`,
    `oci-archive:${dir.path}/image.tar:v1`,
    `docker://${server.host}/a:v1`,
    `oci:${dir.path}/out:v1`,
  ];
  for (const [at, place] of places.slice(1).entries()) {
    const report = await copyReference(String(places[at]), place, {});
    assert.equal(report.digest, image.manifest.digest, place);
    const { stdout } = await runTool('skopeo', ['inspect', '--raw', '--tls-verify=false', place]);
    assert.equal(sha256Digest(Buffer.from(stdout)), image.manifest.digest, place);
  }
});

test('copy: what fails half-way leaves the old tag as it was', async () => {
  using dir = temporaryDir('copy');
  await using server = await embedded(join(dir.path, 'registry'));
  const [old, next] = [await smallImage([{ a: 'old' }]), await smallImage([{ a: 'new' }, { b: 'more' }])];
  writeSmallLayout(join(dir.path, 'old'), old, 'v1');
  writeSmallLayout(join(dir.path, 'new'), next, 'v1');
  await copyReference(`oci:${dir.path}/old:v1`, `${server.host}/a:v1`, {});
  const stop = new AbortController();
  const copying = copyReference(
    `oci:${dir.path}/new:v1`,
    `${server.host}/a:v1`,
    {},
    { signal: stop.signal, onProgress: () => stop.abort() },
  );
  await assert.rejects(copying, { code: 'CANCELED' });
  await using registry = new Registry(server.host);
  assert.equal(await headManifest(registry, { repository: 'a', selector: 'v1' }), old.manifest.digest);
});

test('copy: onto itself is refused', async () => {
  await assert.rejects(copyReference('h.x/a:v1', 'docker://h.x/a:v1', {}), { code: 'USAGE' });
});
