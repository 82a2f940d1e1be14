// Layers that nydus-image created and merged, as Nydus' converter does it: the merged image passes our check, and its tree,
// by our reader, by nydusd and by the kernel, is what umoci makes of the same layers.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Bootstrap } from '../../src/image/bootstrap-reader.ts';
import { checkBootstrap } from '../../src/image/check.ts';
import { blobsIn, fillDevices } from '../support/devices.ts';
import { mountErofs } from '../support/erofs.ts';
import { fixture, fixturePath, layerTars, umoci, umociUnpack } from '../support/fixtures.ts';
import { imageTree } from '../support/image-tree.ts';
import { naiadHome } from '../support/naiad.ts';
import {
  mountNydusd,
  type NydusOptions,
  nydusCreate,
  nydusd,
  nydusImage,
  nydusLayout,
  nydusMerge,
  renameToDigest,
} from '../support/nydus.ts';
import { addon, erofs, every, program } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { temporaryDir } from '../support/temporary.ts';
import { assertSameFuseTree, assertSameTree, readTree, type Tree } from '../support/tree.ts';

const needs = every(nydusImage(), nydusd(), addon(), erofs(), program('getfattr'), umoci(), fixture('features'));

const CASES: readonly NydusOptions[] = [
  { compressor: 'zstd', digester: 'blake3', framing: 'inline-meta+toc' },
  { compressor: 'lz4_block', digester: 'sha256', framing: 'inline-meta+toc', batchSize: 0x100000 },
  { compressor: 'none', digester: 'blake3', framing: 'inline-meta', chunkSize: 0x10000 },
];

const scratch = temporaryDir('nydus-merge');
const tars: string[] = [];
let reference: Tree;
before(async () => {
  if (needs.skip !== false) return;
  const layout = join(scratch.path, 'layout');
  await runTool('umoci', ['init', '--layout', layout]);
  await runTool('umoci', ['new', '--image', `${layout}:latest`]);
  for (const [index, layer] of (await layerTars(fixturePath('features'), 'latest', scratch.path)).entries()) {
    // A layer of nothing but links to files below cannot be unpacked alone, nor does nydus-image take it.
    if (index === 2) continue;
    const tar = await reduce(layer);
    tars.push(tar);
    await runTool('umoci', ['raw', 'add-layer', '--image', `${layout}:latest`, tar]);
  }
  reference = await readTree(await umociUnpack(layout, 'latest', join(scratch.path, 'reference')));
});
after(() => scratch[Symbol.dispose]());

/** The layer without what nydus-image cannot take: hard links to symlinks, newlines in xattrs, sparse files, times of pax. */
async function reduce(layer: string): Promise<string> {
  const stage = `${layer}.stage`;
  mkdirSync(stage);
  const tar = "tar --xattrs --xattrs-include='*' --numeric-owner";
  const script = `cd ${stage} && ${tar} -xpf ${layer} && rm -rf srv/all/times srv/all/links/symlink-again
    [ ! -e srv/all/xattrs/user ] || setfattr -n user.binary -v 0x00ff2a srv/all/xattrs/user
    find . -exec touch -h -d '2020-02-02 20:20:20 UTC' {} +
    ${tar} --format=pax --pax-option=delete=atime,delete=ctime --sort=name -cf ${layer}.reduced .`;
  await runTool('bash', ['-ec', script]);
  return `${layer}.reduced`;
}

for (const options of CASES) {
  const { compressor, digester, framing, batchSize = 0 } = options;
  test(`reads layers merged: ${compressor} ${digester} ${framing}${batchSize > 0 ? ' in batches' : ''}`, {
    ...needs,
  }, async () => {
    using directory = temporaryDir('nydus');
    const layers = [];
    for (const [index, tar] of tars.entries()) {
      const image = await nydusCreate(tar, join(directory.path, `layer-${index}`), 'tar-rafs', options);
      layers.push(renameToDigest(image));
    }
    const merged = await nydusMerge(layers, join(directory.path, 'merged'));
    const bytes = readFileSync(merged.bootstrap);
    assert.deepEqual(checkBootstrap(bytes).findings, []);
    const bootstrap = Bootstrap.parse(bytes);
    const devices = join(directory.path, 'devices');
    mkdirSync(devices);
    const devicePaths = await fillDevices(bootstrap, blobsIn(merged.blobDir), devices);
    assertSameTree(reference, imageTree(bootstrap, devicePaths));

    await using naiad = naiadHome(directory.path);
    const layout = nydusLayout(merged, join(directory.path, 'layout'));
    await naiad.run(['check', layout]);
    await naiad.run(['unpack', '--quiet', layout, join(directory.path, 'unpacked')]);
    assertSameTree(reference, await readTree(join(directory.path, 'unpacked')));
    const lazy = join(directory.path, 'lazy');
    mkdirSync(lazy);
    {
      await using _lazy = await naiad.mount(layout, lazy);
      assertSameFuseTree(reference, await readTree(lazy));
    }

    await using mount = await mountNydusd(merged, join(directory.path, 'nydusd'));
    assertSameTree(reference, await readTree(mount.mountpoint));
    const mountpoint = join(directory.path, 'erofs');
    await using _kernel = await mountErofs(merged.bootstrap, devicePaths, mountpoint);
    assertSameTree(reference, await readTree(mountpoint));
  });
}
