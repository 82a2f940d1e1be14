// Optimized images: the same tree as the original, one blob that a start reads from end to end, and nothing put twice.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { MiB } from '../../src/base/units.ts';
import { startBadRegistry } from '../support/bad-registry.ts';
import { DRIVERS, driver } from '../support/drivers.ts';
import { fixture, fixturePath } from '../support/fixtures.ts';
import { type NaiadHome, naiadHome } from '../support/naiad.ts';
import { every, program, root } from '../support/requires.ts';
import { makeShellImage, shellImage } from '../support/shell-image.ts';
import { smallImage, writeSmallLayout } from '../support/small-image.ts';
import { temporaryDir } from '../support/temporary.ts';
import { assertSameTree, readTree } from '../support/tree.ts';
import { until } from '../support/until.ts';

interface Optimized {
  readonly manifest: string;
  readonly from: string;
  readonly hot: { readonly blobId: string; readonly size: number };
  readonly keptBlobs: number;
  readonly keptSize: number;
  readonly reusedSize: number;
}

const needs = every(fixture('features'));
const scratch = temporaryDir('optimize');
after(() => scratch[Symbol.dispose]());
const place = (name: string) => join(scratch.path, name);

let naiad: NaiadHome;
let layout: string;

before(async () => {
  if (needs.skip !== false) return;
  naiad = naiadHome(place('home'));
  layout = `oci:${place('layout')}`;
  writeFileSync(place('list'), '/srv/all/sizes/1048577\n/srv/all/links\n/srv/all/copies\n');
  writeFileSync(place('empty'), '{"format":"naiad-trace","version":1,"touches":0,"runs":1}\n');
  writeFileSync(place('other'), '/no/such/file\n/nor/this\n');
  await naiad.run(['convert', '--quiet', `oci:${fixturePath('features')}:latest`, `${layout}:x`]);
});

const optimize = async (target: string, trace = place('list')) =>
  await naiad.json<Optimized>(['optimize', '--trace', trace, `${layout}:x`, target]);

test('optimize: in a layout, only the hot blob is new; the digests are the same each time and everywhere', {
  ...needs,
}, async () => {
  const blobs = () => readdirSync(join(place('layout'), 'blobs', 'sha256')).length;
  const before = blobs();
  const here = await optimize(`${layout}:hot`);
  // Hot blob, bootstrap layer, config, manifest.
  assert.equal(blobs(), before + 4);
  assert.equal(here.reusedSize, here.keptSize);
  assert.ok(here.hot.size > 1_000_000 && here.keptSize > 1_000_000);
  const { bootstrap } = await naiad.json<{ bootstrap: { blobs: { blobId: string; hot?: true }[] } }>([
    'inspect',
    `${layout}:hot`,
  ]);
  const marked = bootstrap.blobs.filter(({ hot }) => hot).map(({ blobId }) => blobId);
  assert.deepEqual(marked, [here.hot.blobId]);
  const there = await optimize(`oci:${place('other-layout')}:hot`);
  assert.equal(there.reusedSize, 0);
  assert.deepEqual([there.manifest, there.hot.blobId], [here.manifest, here.hot.blobId]);
  for (const image of [`${layout}:hot`, `oci:${place('other-layout')}:hot`])
    await naiad.run(['check', '--data', image]);
});

test('optimize: convert --trace comes to the same, and leaves nothing else', { ...needs }, async () => {
  const source = `oci:${fixturePath('features')}:latest`;
  const target = `oci:${place('at-once')}:hot`;
  const { manifest } = await naiad.json<Optimized>(['convert', '--trace', place('list'), source, target]);
  assert.equal(manifest, (await optimize(`oci:${place('after')}:hot`)).manifest);
  const blobs = (name: string) => readdirSync(join(place(name), 'blobs', 'sha256')).sort();
  assert.deepEqual(blobs('at-once'), blobs('after'));
  const refused = ['convert', '--trace', place('other'), source, `oci:${place('nowhere')}:hot`];
  const { stderr } = await naiad.run(refused, { okay: [2] });
  assert.match(stderr, /nothing of the trace is in oci:.*nowhere/);
  assert.equal(existsSync(place('nowhere')), false);
});

test('optimize: the tree is that of the original', { ...every(needs, root(), program('getfattr')) }, async () => {
  await optimize(`${layout}:tree`);
  await naiad.run(['unpack', `${layout}:x`, place('original')]);
  await naiad.run(['unpack', `${layout}:tree`, place('optimized')]);
  assertSameTree(await readTree(place('original')), await readTree(place('optimized')));
});

for (const { name, args, exit, says } of [
  { name: 'an empty trace', args: ['--trace', 'empty', ':x', ':y'], exit: 2, says: /the trace is empty/ },
  {
    name: 'a trace of another image',
    args: ['--trace', 'other', ':x', ':y'],
    exit: 2,
    says: /nothing of the trace is in/,
  },
  { name: 'no trace', args: [':x', ':y'], exit: 2, says: /trace/ },
  { name: 'a trace that is not there', args: ['--trace', 'gone', ':x', ':y'], exit: 10, says: /gone/ },
  { name: 'one place for both', args: ['--trace', 'list', ':x', ':x'], exit: 2, says: /is source and target/ },
]) {
  test(`optimize: refuses ${name}`, { ...needs }, async () => {
    const words = args.map((word) => (word.startsWith(':') ? layout + word : word));
    const [option, trace, ...rest] = words;
    const line = option === '--trace' ? [option, place(trace as string), ...rest] : words;
    const { stderr } = await naiad.run(['optimize', ...line], { okay: [exit] });
    assert.match(stderr, says);
    await naiad.run(['inspect', `${layout}:y`], { okay: [10] });
  });
}

test('optimize: refuses an image that is not converted', { ...needs }, async () => {
  const args = ['--trace', place('list'), `oci:${fixturePath('features')}:latest`, `${layout}:y`];
  const { stderr } = await naiad.run(['optimize', ...args], { okay: [13] });
  assert.match(stderr, /ordinary image/);
});

/** The hot one is larger than requests are elsewhere, and less than half of the image. */
const LARGE = { hot: randomBytes(9 * MiB), warm: randomBytes(MiB), cold: randomBytes(12 * MiB) };

async function largeHotImage(): Promise<Optimized> {
  const { hot, warm, cold } = LARGE;
  writeSmallLayout(place('large-source'), await smallImage([{ cold }, { warm, hot }]), 'x');
  writeFileSync(place('large-list'), '/hot\n');
  const layout = `oci:${place('large')}`;
  await naiad.run(['convert', '--quiet', `oci:${place('large-source')}:x`, `${layout}:x`]);
  return await naiad.json<Optimized>(['optimize', '--trace', place('large-list'), `${layout}:x`, `${layout}:hot`]);
}

/** One request for all of it. On a machine that is slow enough, an answer that seems to stall is asked for once more. */
function assertHotAlone(served: readonly string[], { blobId, size }: Optimized['hot']): void {
  assert.equal(served[0], `sha256:${blobId} 0 ${size}`);
  for (const more of served) assert.ok(more.startsWith(`sha256:${blobId} `), more);
}

let large: Promise<Optimized> | undefined;

for (const { name } of DRIVERS) {
  test(`optimize: ${name} streams the hot blob with one request, and asks for nothing else`, {
    ...every(needs, driver(name)),
  }, async () => {
    large ??= largeHotImage();
    const { hot } = await large;
    const home = naiadHome(place(`home-${name}`));
    const mountpoint = place(`mnt-${name}`);
    mkdirSync(mountpoint);
    await using registry = await startBadRegistry(place('large'));
    await using _mount = await home.mount(`${registry.host}/large:hot`, mountpoint, '--driver', name);
    assert.deepEqual(await readFile(join(mountpoint, 'hot')), LARGE.hot);
    assertHotAlone(registry.served, hot);
    const { counters } = (await home.status(mountpoint)).fetching;
    assert.deepEqual([counters.hot.requests - counters.hedges, counters.demand.requests], [1, 0]);
    const isComplete = async () => {
      const { devices, prefetch, mount } = await home.status(mountpoint);
      const own = devices.find(({ blobId }) => blobId === hot.blobId);
      const marks = mount.why.find((line) => /of \d devices are not complete/.test(line));
      const released = name !== 'erofs' || marks?.includes('2 of 3 devices');
      return own?.bytes === LARGE.hot.length && prefetch?.state === 'watching' && released === true;
    };
    await until('the hot blob is complete', isComplete);
    assert.deepEqual(await readFile(join(mountpoint, 'cold')), LARGE.cold);
    assert.ok(registry.served.length > 1);
  });
}

test('optimize: a traced start of a container asks for the hot blob alone', {
  ...every(needs, root(), program('runc'), shellImage()),
}, async () => {
  const source = await makeShellImage(place('.'));
  const layout = `oci:${place('shell')}`;
  await naiad.run(['convert', '--quiet', '--chunk-size', '64KiB', source, `${layout}:x`]);
  const start = ['head -c 300000 /srv/large >/dev/null; cat /etc/group'];
  await naiad.run(['trace', 'record', '-o', place('shell.trace'), '--ready', 'exit', `${layout}:x`, ...start]);
  const args = ['optimize', '--trace', place('shell.trace'), `${layout}:x`, `${layout}:hot`];
  const { hot } = await naiad.json<Optimized>(args);
  const home = naiadHome(place('home-start'));
  await using registry = await startBadRegistry(place('shell'));
  await home.run([
    'trace',
    'record',
    '-o',
    place('hot.trace'),
    '--ready',
    'exit',
    `${registry.host}/shell:hot`,
    ...start,
  ]);
  const { stdout } = await home.run(['--json', 'trace', 'show', place('hot.trace')]);
  assert.ok((JSON.parse(stdout) as { touches: number }).touches > 5);
  assertHotAlone(registry.served, hot);
});
