// Our images in the hands of Nydus' own tools: nydus-image checks them and lists their blobs, nydusd mounts them, and the
// tree is umoci's.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openConvertedImage } from '../../src/transport/image.ts';
import { fixture, fixturePath, umoci, umociUnpack } from '../support/fixtures.ts';
import { naiadHome } from '../support/naiad.ts';
import { mountNydusd, nydusCheck, nydusd, nydusImage } from '../support/nydus.ts';
import { every, program, root } from '../support/requires.ts';
import { temporaryDir } from '../support/temporary.ts';
import { assertSameTree, readTree, type Tree } from '../support/tree.ts';

const needs = every(nydusImage(), nydusd(), root(), program('getfattr'), umoci(), fixture('features'));

const CASES: readonly { name: string; args: readonly string[]; trace?: readonly string[] }[] = [
  { name: 'as naiad converts when nothing is said', args: [] },
  { name: 'lz4, sha256, chunks of 64 KiB', args: ['--compressor=lz4', '--digester=sha256', '--chunk-size=64KiB'] },
  { name: 'uncompressed, chunks of 4 KiB', args: ['--compressor=none', '--chunk-size=4KiB'] },
  { name: 'zstd at level 19, chunks of 16 MiB', args: ['--level=19', '--chunk-size=16MiB'] },
  { name: 'a list of what to prefetch', args: ['--prefetch=/srv/all/links', '--prefetch=/srv/all/sizes/1048577'] },
  {
    name: 'optimized',
    args: ['--chunk-size=64KiB'],
    trace: ['/srv/all/sizes/1048577', '/srv/all/many', '/srv/all/links'],
  },
  { name: 'optimized, with everything in the hot blob', args: [], trace: ['/'] },
];

const scratch = temporaryDir('to-nydus');
let reference: Tree;
before(async () => {
  if (needs.skip !== false) return;
  const unpacked = await umociUnpack(fixturePath('features'), 'latest', join(scratch.path, 'reference'));
  reference = await readTree(unpacked);
});
after(() => scratch[Symbol.dispose]());

for (const { name, args, trace } of CASES) {
  test(`nydus-image checks and nydusd mounts: ${name}`, { ...needs }, async () => {
    using directory = temporaryDir('nydus');
    const layout = join(directory.path, 'layout');
    await using naiad = naiadHome(directory.path);
    await naiad.run(['convert', '--quiet', ...args, `oci:${fixturePath('features')}:latest`, `oci:${layout}:x`]);
    if (trace) {
      const list = join(directory.path, 'list');
      writeFileSync(list, trace.join('\n'));
      await naiad.run(['optimize', '--quiet', '--trace', list, `oci:${layout}:x`, `oci:${layout}:hot`]);
    }
    await using opened = await openConvertedImage(`oci:${layout}:${trace ? 'hot' : 'x'}`);
    const bootstrap = join(directory.path, 'image.boot');
    writeFileSync(bootstrap, opened.bootstrapBytes);

    // As nydusify compares them: the blobs of the bootstrap are layers of the manifest.
    const listed = await nydusCheck(bootstrap, directory.path);
    const layers = opened.manifest?.layers.slice(0, -1).map(({ digest }) => digest.replace('sha256:', '')) ?? [];
    assert.deepEqual([...listed].sort(), [...layers].sort());

    // Blobs of a layout are named as nydusd's localfs backend wants them: by hex digest.
    const image = { bootstrap, blobDir: join(layout, 'blobs', 'sha256'), blobIds: listed };
    await using mount = await mountNydusd(image, join(directory.path, 'nydusd'));
    // nydusd shows a time of 0 as the time of mounting.
    const ignore = (path: string) => path.startsWith('srv/all/times/1970-');
    assertSameTree(reference, await readTree(mount.mountpoint), { ignore });
  });
}
