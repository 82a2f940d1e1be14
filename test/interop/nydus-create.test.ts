// What nydus-image creates is read here: every compressor, digester and framing, with and without batches, from a directory
// and from a tar. Each image passes our check, and its tree, by our reader and by the kernel, is that of the source.
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Bootstrap } from '../../src/image/bootstrap-reader.ts';
import { checkBootstrap } from '../../src/image/check.ts';
import { unpackImage } from '../../src/look/unpack.ts';
import { blobsIn, fillDevices } from '../support/devices.ts';
import { DRIVERS } from '../support/drivers.ts';
import { mountErofs } from '../support/erofs.ts';
import { fixture, fixturePath, umoci, umociUnpack } from '../support/fixtures.ts';
import { imageTree } from '../support/image-tree.ts';
import { naiadHome } from '../support/naiad.ts';
import { type NydusOptions, nydusCreate, nydusImage, nydusMerge, renameToDigest } from '../support/nydus.ts';
import { addon, erofs, every, fuse, program } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { temporaryDir } from '../support/temporary.ts';
import { assertSameTree, readTree, type Tree } from '../support/tree.ts';

const needs = every(nydusImage(), fuse(), addon(), erofs(), program('getfattr'), umoci(), fixture('features'));

type Source = 'dir-rafs' | 'tar-rafs';
type Case = NydusOptions & { readonly source: Source };

const DIGESTERS = ['blake3', 'sha256'] as const;
const FRAMINGS = ['separate', 'inline-meta', 'toc', 'inline-meta+toc'] as const;
const CASES: readonly Case[] = (['none', 'lz4_block', 'zstd'] as const).flatMap((compressor, c) =>
  DIGESTERS.flatMap((digester, d) =>
    FRAMINGS.flatMap((framing, f) =>
      [0, 0x100000].map((batchSize, b) => ({
        compressor,
        digester,
        framing,
        batchSize,
        // Each half of the cases takes the other source, each third another chunk size: all pairs with the rest occur.
        source: (c + d + f + b) % 2 === 0 ? ('dir-rafs' as const) : ('tar-rafs' as const),
        chunkSize: (c + d + f) % 3 === 0 && batchSize === 0 ? 0x10000 : 0x100000,
      })),
    ),
  ),
);

const scratch = temporaryDir('nydus-create');
let reference: Tree;
before(async () => {
  if (needs.skip !== false) return;
  const tree = await umociUnpack(fixturePath('features'), 'latest', join(scratch.path, 'source'));
  // What nydus-image cannot take from a tar: a hard link to a symlink, and a newline in an xattr (its parser splits there).
  const reduce = `rm ${tree}/srv/all/links/symlink-again && setfattr -n user.binary -v 0x00ff2a ${tree}/srv/all/xattrs/user
    rm -r ${tree}/srv/all/many ${tree}/srv/all/sizes/sparse && touch -d '2022-02-02 22:22:22 UTC' ${tree}/srv/all/links`;
  await runTool('bash', ['-ec', reduce]);
  const tar = [
    '--format=pax',
    '--xattrs',
    '--xattrs-include=*',
    '--numeric-owner',
    '-C',
    tree,
    '-cf',
    `${tree}.tar`,
    '.',
  ];
  await runTool('tar', tar);
  reference = await readTree(tree);
});
after(() => scratch[Symbol.dispose]());

test(`nydus-image create is tried ${CASES.length} ways`, () => {
  assert.equal(CASES.length, 48);
  assert.equal(CASES.filter(({ source }) => source === 'dir-rafs').length, 24);
});

for (const options of CASES) {
  const { source, compressor, digester, framing, batchSize = 0, chunkSize = 0 } = options;
  const what = `${source} ${compressor} ${digester} ${framing}, chunks of ${chunkSize >> 10} KiB`;
  test(`reads ${what}${batchSize > 0 ? ' in batches' : ''}`, { ...needs }, async () => {
    using directory = temporaryDir('nydus');
    const from = join(scratch.path, source === 'dir-rafs' ? 'source' : 'source.tar');
    const image = await nydusCreate(from, directory.path, source, options);
    const { bootstrap: path, blobDir } = framing.startsWith('inline-meta')
      ? await nydusMerge([renameToDigest(image)], join(directory.path, 'merged'))
      : image;
    const bytes = readFileSync(path);
    assert.deepEqual(checkBootstrap(bytes).findings, []);
    const bootstrap = Bootstrap.parse(bytes);
    const devices = join(directory.path, 'devices');
    mkdirSync(devices);
    const devicePaths = await fillDevices(bootstrap, blobsIn(blobDir), devices);
    // nydus-image takes no times of the root from a directory, and the seconds of the ustar header from a tar.
    const ignore = (name: string) => name === '';
    const expected = source === 'dir-rafs' ? reference : withUstarTimes(reference);
    assertSameTree(expected, imageTree(bootstrap, devicePaths), { ignore });
    // Their image in our hands: unpacked, and mounted from the bootstrap file with its blobs beside it.
    const beside = join(blobDir, 'image.boot');
    copyFileSync(path, beside);
    const unpacked = join(directory.path, 'unpacked');
    await unpackImage({ bootstrap, readerOf: blobsIn(blobDir), directory: unpacked });
    assertSameTree(expected, await readTree(unpacked), { ignore });
    const mountpoint = join(directory.path, 'mnt');
    mkdirSync(mountpoint);
    {
      await using naiad = naiadHome(directory.path);
      await using _lazy = await naiad.mount(beside, mountpoint);
      const { driver: name } = (await naiad.status(mountpoint)).mount;
      const sameTree = DRIVERS.find((driver) => driver.name === name)?.assertSameTree ?? assertSameTree;
      sameTree(expected, await readTree(mountpoint), { ignore });
    }
    await using _mount = await mountErofs(path, devicePaths, mountpoint);
    assertSameTree(expected, await readTree(mountpoint), { ignore });
  });
}

/** Pax times are not read: eleven octal digits are left, of which anything else is 0. */
function withUstarTimes(tree: Tree): Tree {
  const second = 1_000_000_000n;
  const whole = (time: bigint) => (time < 0n || time / second >= 8n ** 11n ? 0n : time - (time % second));
  return new Map([...tree].map(([path, entry]) => [path, { ...entry, mtimeNs: whole(entry.mtimeNs) }]));
}
