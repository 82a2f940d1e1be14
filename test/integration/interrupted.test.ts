// Conversions that end before their time: by SIGINT and SIGTERM (which clean up), by SIGKILL (after which the next run does)
// and by a registry that goes away. The target never shows half an image, and in the end nothing is left of the attempt.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { deferred } from '../../src/base/concurrency.ts';
import { openConvertedImage } from '../../src/transport/image.ts';
import { countingProxy } from '../support/counting-proxy.ts';
import { fixture, fixturePath } from '../support/fixtures.ts';
import { naiadHome, startNaiad } from '../support/naiad.ts';
import { every, program, root } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { dockerRegistry, startDockerRegistry, type TestRegistry } from '../support/servers.ts';
import { temporaryDir } from '../support/temporary.ts';

const needs = every(root(), dockerRegistry(), program('skopeo'), fixture('features'));

const scratch = temporaryDir('interrupted');
let registry: TestRegistry;
before(async () => {
  if (needs.skip !== false) return;
  registry = await startDockerRegistry();
  const source = `oci:${fixturePath('features')}:latest`;
  await runTool('skopeo', [
    'copy',
    '--quiet',
    '--dest-tls-verify=false',
    source,
    `docker://${registry.host}/features:1`,
  ]);
});
after(async () => {
  await registry?.[Symbol.asyncDispose]();
  scratch[Symbol.dispose]();
});

/** Where an image goes, and what may be there afterwards. */
interface Place {
  readonly name: string;
  readonly reference: (dir: string, host: string) => string;
  /** Files below the working directory that belong to a finished image. */
  readonly isOwn: (path: string) => boolean;
}

const PLACES: readonly Place[] = [
  {
    name: 'a layout',
    reference: (dir) => `oci:${dir}/layout:x`,
    isOwn: (path) => /^layout\/(oci-layout|index\.json|blobs\/sha256\/[0-9a-f]{64})$/.test(path),
  },
  { name: 'an archive', reference: (dir) => `oci-archive:${dir}/image.tar:x`, isOwn: (path) => path === 'image.tar' },
  {
    name: 'a registry',
    reference: (dir, host) => `docker://${host}/${dir.split('-').at(-1)?.toLowerCase()}:x`,
    isOwn: () => false,
  },
];

/** When to strike: bytes that came from the source's registry, or went to the target's. */
interface Moment {
  readonly name: string;
  readonly received?: number;
  readonly sent?: number;
}

const READING: readonly Moment[] = [
  { name: 'while manifests are read', received: 500 },
  { name: 'while the first layer is read', received: 3_000_000 },
  { name: 'while the last layers are read', received: 15_900_000 },
];
const PUSHING: readonly Moment[] = [
  { name: 'while a blob is pushed', sent: 1_000_000 },
  { name: 'while the last blob is pushed', sent: 11_300_000 },
];

const MIDST = ['while the first layer is read', 'while a blob is pushed'];

type Strike = 'SIGINT' | 'SIGTERM' | 'SIGKILL' | 'cut';

/** In the midst of each kind of work by everything; at its beginning and end by what gives no chance to clean up. */
const CASES = PLACES.flatMap((place) => {
  const moments = place.name === 'a registry' ? [...READING, ...PUSHING] : READING;
  return moments.flatMap((moment) => {
    // The two signals differ in the exit code alone.
    const asked: readonly Strike[] = place.name === 'a registry' ? ['SIGINT', 'SIGTERM'] : ['SIGINT'];
    const strikes: readonly Strike[] = MIDST.includes(moment.name) ? [...asked, 'SIGKILL', 'cut'] : ['SIGKILL'];
    return strikes.map((strike) => ({ place, moment, strike }));
  });
});

for (const { place, moment, strike } of CASES) {
  const what = strike === 'cut' ? 'the registry goes away' : `${strike} comes`;
  test(`into ${place.name}: ${what} ${moment.name}`, { ...needs }, async () => {
    using directory = temporaryDir('convert');
    const dir = directory.path;
    const struck = deferred<void>();
    let armed = true;
    await using proxy = await countingProxy(registry.host, ({ received, sent }) => {
      const due = received >= (moment.received ?? Infinity) || sent >= (moment.sent ?? Infinity);
      if (!armed || !due) return;
      armed = false;
      struck.resolve();
    });
    for (const name of ['tmp', 'home']) mkdirSync(join(dir, name));
    const env = { ...naiadHome(join(dir, 'home')).env, TMPDIR: join(dir, 'tmp') };
    // The source is read through the proxy, and a target registry is written through it.
    const target = place.reference(dir, proxy.host);
    const child = startNaiad(['convert', `docker://${proxy.host}/features:1`, target], env);
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const ended = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
    await Promise.race([struck.promise, ended]);
    assert.equal(armed, false, `it ended before its time: ${stderr}`);
    if (strike === 'cut') proxy.cut();
    else child.kill(strike);
    const [code, signal] = await ended;

    if (strike === 'SIGKILL') assert.equal(signal, 'SIGKILL');
    else {
      const expected = { SIGINT: 130, SIGTERM: 143, cut: 14 }[strike];
      assert.equal(code, expected, stderr);
      assert.deepEqual(leftovers(dir, place), [], 'what a run leaves that could clean up');
    }
    await assertNoImage(dir, place);
    // The next run: straight to the registry, and it finds nothing in its way.
    const again = place.reference(dir, registry.host);
    await runTool(
      process.execPath,
      ['dist/cli/main.js', 'convert', '--quiet', `docker://${registry.host}/features:1`, again],
      { env },
    );
    assert.deepEqual(leftovers(dir, place), [], 'what is left after the next run');
    await using opened = await openConvertedImage(again);
    assert.ok(opened.bootstrap.inodeCount > 5000);
  });
}

/** Files and directories below `dir` that are no part of a finished image. */
function leftovers(dir: string, place: Place): string[] {
  const found = readdirSync(dir, { recursive: true, withFileTypes: true });
  const paths = found.map((entry) => ({ path: join(entry.parentPath, entry.name).slice(dir.length + 1), entry }));
  const expected = new Set(['tmp', 'home', 'layout', 'layout/blobs', 'layout/blobs/sha256']);
  return paths
    .filter(({ path, entry }) => (entry.isDirectory() ? !expected.has(path) : !place.isOwn(path)))
    .map(({ path }) => path);
}

async function assertNoImage(dir: string, place: Place): Promise<void> {
  const target = place.reference(dir, registry.host);
  await assert.rejects(openConvertedImage(target), { code: 'IMAGE_NOT_FOUND' });
  // A layout without the image is one, or is not there at all; its index never speaks of blobs that are missing.
  const index = join(dir, 'layout', 'index.json');
  if (place.name === 'a layout' && existsSync(index)) {
    assert.deepEqual((JSON.parse(readFileSync(index, 'utf8')) as { manifests: unknown[] }).manifests, []);
  }
  if (place.name === 'an archive') assert.equal(existsSync(join(dir, 'image.tar')), false);
}
