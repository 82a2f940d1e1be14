// Layers that were converted before are taken over from a build cache, where the target has their blobs; the image is the same.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { BUILD_DEFAULTS } from '../../src/convert/build-options.ts';
import { convertReference } from '../../src/convert/convert-reference.ts';
import { fixture, fixturePath } from '../support/fixtures.ts';
import { every, root } from '../support/requires.ts';
import { dockerRegistry, startDockerRegistry } from '../support/servers.ts';
import { noise, smallImage, writeSmallLayout } from '../support/small-image.ts';
import { temporaryDir } from '../support/temporary.ts';

const scratch = temporaryDir('build-cache');
after(() => scratch[Symbol.dispose]());

const layout = (name: string, tag = 'x') => `oci:${join(scratch.path, name)}:${tag}`;
const FILES = ['a', 'b', 'c'].map((name) => ({ [name]: name.repeat(9000), shared: noise(20_000) }));

/** Writes an image of layers with these files, and returns its name. */
async function source(
  name: string,
  files: readonly Readonly<Record<string, string | Buffer>>[] = FILES,
): Promise<string> {
  writeSmallLayout(join(scratch.path, name), await smallImage(files), 'x');
  return layout(name);
}

async function convert(from: string, to: string, buildCache: string | undefined, options = {}) {
  const troubles: string[] = [];
  const onTrouble = (message: string) => troubles.push(message);
  const hooks = { signal: new AbortController().signal, onTrouble };
  const report = await convertReference(from, to, { ...BUILD_DEFAULTS, buildCache, ...options }, hooks);
  return { manifest: report.manifest, cached: report.layers.map(({ cached }) => cached), troubles };
}

test('a second conversion of all that layers can have reads none of them, and gives the same image', {
  ...every(root(), fixture('features')),
}, async () => {
  const from = `oci:${fixturePath('features')}:latest`;
  const plain = await convert(from, layout('plain'), undefined);
  const first = await convert(from, layout('all', '1'), layout('all-cache'));
  const second = await convert(from, layout('all', '2'), layout('all-cache'));
  assert.deepEqual([first.manifest, second.manifest], [plain.manifest, plain.manifest]);
  assert.ok(first.cached.length > 3 && first.cached.every((cached) => !cached));
  assert.ok(second.cached.every((cached) => cached));
});

test('of an image with another layer, that one is converted', async () => {
  const cache = layout('other-cache');
  await convert(await source('old'), layout('other', 'old'), cache);
  const from = await source('new', [...FILES.slice(0, 2), { d: 'new' }]);
  const found = await convert(from, layout('other', 'new'), cache);
  assert.deepEqual(found.cached, [true, true, false]);
  assert.equal(found.manifest, (await convert(from, layout('other-plain'), undefined)).manifest);
  assert.deepEqual((await convert(from, layout('other', 'again'), cache)).cached, [true, true, true]);
});

test('where the target lacks the blobs, or with other options, layers are converted again', async () => {
  const cache = layout('again-cache');
  const from = await source('again-source');
  await convert(from, layout('again', '1'), cache);
  assert.deepEqual((await convert(from, layout('elsewhere'), cache)).cached, [false, false, false]);
  assert.deepEqual((await convert(from, layout('again', '2'), cache, { compressor: 'lz4' })).cached, [
    false,
    false,
    false,
  ]);
  assert.deepEqual((await convert(from, layout('again', '3'), cache)).cached, [true, true, true], 'all are kept');
});

test('a broken cache costs time and is told of, nothing else', async () => {
  const from = await source('sound-source');
  const { manifest } = await convert(from, layout('sound', '1'), layout('broken'));
  const blobs = join(scratch.path, 'broken', 'blobs', 'sha256');
  for (const name of readdirSync(blobs)) {
    const bytes = readFileSync(join(blobs, name));
    const middle = bytes.length >> 1;
    if (bytes[0] !== 0x1f) continue; // No record.
    bytes[middle] = (bytes[middle] as number) ^ 1;
    writeFileSync(join(blobs, name), bytes);
  }
  const again = await convert(from, layout('sound', '2'), layout('broken'));
  assert.equal(again.manifest, manifest);
  assert.deepEqual(again.cached, [false, false, false]);
  assert.match(again.troubles.join('\n'), /a layer is converted again: /);
});

test('cache and target in a registry', dockerRegistry(), async () => {
  await using registry = await startDockerRegistry();
  const at = (tag: string) => `docker://${registry.host}/app:${tag}`;
  const from = await source('pushed');
  const first = await convert(from, at('1'), at('cache'));
  const second = await convert(from, at('2'), at('cache'));
  assert.equal(second.manifest, first.manifest);
  assert.deepEqual(second.cached, [true, true, true]);
});

for (const place of ['oci-archive:x.tar', 'dir:/srv']) {
  test(`${place} is no place for a build cache`, async () => {
    await assert.rejects(convert(await source('any'), layout('none'), place), { code: 'USAGE' });
  });
}

test('an image is not taken for a build cache, and stays', async () => {
  const from = await source('image');
  await convert(from, layout('kept'), undefined);
  await assert.rejects(convert(from, layout('kept', 'other'), layout('kept')), {
    code: 'USAGE',
    message: /no build cache/,
  });
  await assert.rejects(convert(from, layout('same'), layout('same')), { code: 'USAGE' });
  const again = await convert(layout('kept'), layout('copy'), undefined).catch((error: { code: string }) => error.code);
  assert.equal(again, 'ALREADY_CONVERTED');
});

test('a build cache that cannot be reached is told of, and done without', async () => {
  const found = await convert(await source('far'), layout('near'), 'docker://127.0.0.1:1/app:cache');
  assert.deepEqual(found.cached, [false, false, false]);
  assert.match(found.troubles.join('\n'), /^converting without the build cache /);
});
