// erofs-utils on our images: dump.erofs and fsck.erofs take them with one --device a blob. What fsck.erofs 1.5 extracts has
// no xattrs, no hard links (copies instead) and no set-uid bits on files; everything else is as the kernel shows it.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openConvertedImage } from '../../src/transport/image.ts';
import { fillDevices } from '../support/devices.ts';
import { fixture, fixturePath, umoci, umociUnpack } from '../support/fixtures.ts';
import { naiadHome } from '../support/naiad.ts';
import { every, program, root } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { temporaryDir } from '../support/temporary.ts';
import { assertSameTree, readTree, type Tree } from '../support/tree.ts';

const needs = every(
  ...[root(), program('fsck.erofs'), program('dump.erofs'), program('getfattr'), umoci(), fixture('features')],
);

const scratch = temporaryDir('erofs-utils');
const bootstrap = join(scratch.path, 'boot');
const devices: string[] = [];
let reference: Tree;
before(async () => {
  if (needs.skip !== false) return;
  await using naiad = naiadHome(scratch.path);
  const image = `oci:${join(scratch.path, 'layout')}:x`;
  await naiad.run(['convert', '--quiet', `oci:${fixturePath('features')}:latest`, image]);
  await using opened = await openConvertedImage(image);
  writeFileSync(bootstrap, opened.bootstrapBytes);
  const dir = join(scratch.path, 'devices');
  mkdirSync(dir);
  const paths = await fillDevices(opened.bootstrap, (blobId) => opened.blobReader(blobId), dir);
  devices.push(...paths.map((path) => `--device=${path}`));
  reference = await readTree(await umociUnpack(fixturePath('features'), 'latest', join(scratch.path, 'reference')));
});
after(() => scratch[Symbol.dispose]());

test('dump.erofs describes the image and finds files in it', { ...needs }, async () => {
  assert.equal(devices.length, 3);
  const superblock = (await runTool('dump.erofs', [...devices, bootstrap])).stdout;
  assert.match(superblock, /Filesystem features: +chunked_file device_table/);
  assert.match(superblock, new RegExp(`Filesystem inode count: +${reference.size}\\n`));
  const { stdout } = await runTool('dump.erofs', [...devices, '--path=/srv/all/links/a', bootstrap]);
  assert.match(stdout, /Size: 7 .* regular file\n.* Links: 5 .*\n(.*\n)+.*Timestamp: 2023-11-14 22:13:20\.000000000/);
});

test('dump.erofs counts what is in the image', { ...needs }, async () => {
  const { stdout } = await runTool('dump.erofs', ['-S', ...devices, bootstrap]);
  const count = (type: string) => [...reference.values()].filter((entry) => entry.type === type).length;
  for (const [line, type] of [
    ['regular file', 'file'],
    ['directory', 'directory'],
    ['char dev', 'char'],
    ['block dev', 'block'],
    ['FIFO file', 'fifo'],
    ['symlink file', 'symlink'],
  ] as const) {
    assert.match(stdout, new RegExp(`Filesystem ${line} count:\\s+${count(type)}\\n`), line);
  }
});

test('fsck.erofs finds nothing wrong and extracts the tree', { ...needs }, async () => {
  await runTool('fsck.erofs', [...devices, bootstrap]);
  const extracted = join(scratch.path, 'extracted');
  await runTool('fsck.erofs', [...devices, `--extract=${extracted}`, bootstrap]);
  const withoutSetId = new Map(
    [...reference].map(([path, entry]) => {
      return [path, entry.type === 'file' ? { ...entry, mode: entry.mode & 0o1777 } : entry];
    }),
  );
  assertSameTree(withoutSetId, await readTree(extracted), { without: ['xattrs', 'nlink', 'linkGroup'] });
});

test('fsck.erofs refuses too few devices, and devices in another order', { ...needs }, async () => {
  const none = await runTool('fsck.erofs', [bootstrap], { okay: [1] });
  assert.match(none.stderr, /extra devices don't match \(ondisk 3, given 0\)/);
  const swapped = await runTool('fsck.erofs', [...[...devices].reverse(), '--extract', bootstrap], { okay: [1] });
  assert.match(swapped.stderr, /corruption/);
});
