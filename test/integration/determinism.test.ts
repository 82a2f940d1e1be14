// The same source and options give the same digests: again, on one layer or many at once, from other places the image is in,
// and in other places it goes to.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openConvertedImage } from '../../src/transport/image.ts';
import { fixture, fixturePath } from '../support/fixtures.ts';
import { naiadHome } from '../support/naiad.ts';
import { every, program, root } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { dockerRegistry, startDockerRegistry, type TestRegistry } from '../support/servers.ts';
import { temporaryDir } from '../support/temporary.ts';

const needs = every(root(), fixture('features'));

const scratch = temporaryDir('same');
const naiad = naiadHome(scratch.path);
let registry: TestRegistry | undefined;
let count = 0;
before(async () => {
  if (every(needs, dockerRegistry()).skip === false) registry = await startDockerRegistry();
});
after(async () => {
  await registry?.[Symbol.asyncDispose]();
  scratch[Symbol.dispose]();
});

const layout = () => `oci:${fixturePath('features')}:latest`;

/** The digests that make up the image that `source` converts to. */
async function convert(
  source: string,
  args: readonly string[] = [],
  target?: string,
): Promise<Record<string, unknown>> {
  const to = target ?? `oci:${join(scratch.path, `out-${count++}`)}:x`;
  await naiad.run(['convert', '--quiet', ...args, source, to]);
  await using opened = await openConvertedImage(to);
  const { manifest, config } = opened;
  return {
    manifest: opened.manifestDigest,
    layers: manifest?.layers.map(({ digest }) => digest),
    diffIds: config?.diffIds,
  };
}

type Digests = Awaited<ReturnType<typeof convert>>;
const known = new Map<string, Promise<Digests>>();

/** Of the layout, converted once for each set of options. */
function digestsOf(options: readonly string[]): Promise<Digests> {
  const key = options.join(' ');
  const digests = known.get(key) ?? convert(layout(), options);
  known.set(key, digests);
  return digests;
}

const OPTIONS: readonly (readonly string[])[] = [
  [],
  ['--compressor=lz4', '--digester=sha256', '--chunk-size=64KiB'],
  ['--compressor=none', '--chunk-size=4KiB'],
  // More layers at once than there is memory for chunks of them.
  ['--chunk-size=16MiB'],
];

for (const options of OPTIONS) {
  test(`converting twice, and with one layer or six at once, gives the same (${options.join(' ') || 'no options'})`, {
    ...needs,
  }, async () => {
    const first = await digestsOf(options);
    for (const jobs of ['1', '6'])
      assert.deepEqual(await convert(layout(), [...options, `--jobs=${jobs}`]), first, `--jobs=${jobs}`);
  });
}

test('other options give another image', { ...needs }, async () => {
  const manifests = await Promise.all(OPTIONS.map(async (options) => (await digestsOf(options)).manifest));
  assert.equal(new Set(manifests).size, OPTIONS.length);
});

test('where the image comes from and goes to makes no difference', {
  ...every(needs, dockerRegistry(), program('skopeo')),
}, async () => {
  const pulled = `docker://${registry?.host}/features:plain`;
  await runTool('skopeo', ['copy', '--quiet', '--dest-tls-verify=false', layout(), pulled]);
  const archive = `oci-archive:${join(scratch.path, 'features.tar')}:latest`;
  await runTool('skopeo', ['copy', '--quiet', layout(), archive]);
  const { layers, diffIds } = await digestsOf([]);
  const others = [
    await convert(pulled),
    await convert(archive),
    await convert(layout(), [], `docker://${registry?.host}/features:naiad`),
    await convert(layout(), [], `oci-archive:${join(scratch.path, 'out.tar')}:x`),
  ];
  for (const other of others) assert.deepEqual({ layers: other.layers, diffIds: other.diffIds }, { layers, diffIds });
});

test('the same tars under other compression give the same blobs and bootstrap', { ...needs }, async () => {
  const gzip = await digestsOf([]);
  const zstd = await convert(`oci:${fixturePath('features')}:zstd`);
  assert.deepEqual(zstd.layers, gzip.layers);
});
