// Names that are not UTF-8, xattrs without a value, and every time to the nanosecond: by the kernel and by unpack. The judge
// is GNU tar, because umoci drops xattrs without a value. The fuse-native package takes names as text: through it, those that
// are none show escaped.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { displayBytes, utf8ToByteString } from '../../src/base/bytes.ts';
import { openConvertedImage } from '../../src/transport/image.ts';
import { fillDevices } from '../support/devices.ts';
import { mountErofs } from '../support/erofs.ts';
import { fixture, fixturePath, layerTars } from '../support/fixtures.ts';
import { naiadHome } from '../support/naiad.ts';
import { addon, erofs, every, fuse, program, root } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { temporaryDir } from '../support/temporary.ts';
import { assertSameFuseTree, assertSameTree, isNotUtf8, readTree, type Tree } from '../support/tree.ts';

const needs = every(root(), addon(), program('getfattr'), program('tar'), fixture('odd-names'));

const scratch = temporaryDir('odd');
const image = `oci:${join(scratch.path, 'layout')}:x`;
let reference: Tree;
before(async () => {
  if (needs.skip !== false) return;
  const source = fixturePath('odd-names');
  const expected = join(scratch.path, 'expected');
  mkdirSync(expected);
  for (const tar of await layerTars(source, 'latest', scratch.path)) {
    await runTool('tar', ['--xattrs', '--xattrs-include=*', '--numeric-owner', '-C', expected, '-xpf', tar]);
  }
  // The one whiteout of the upper layer, by hand; it changes the time of the root.
  const whiteout = `rm $'goes-\\xe9' $'.wh.goes-\\xe9' && touch -d '2023-11-14 22:13:20.123456789 UTC' .`;
  await runTool('bash', ['-ec', whiteout], { cwd: expected });
  reference = await readTree(expected);
  await using naiad = naiadHome(scratch.path);
  await naiad.run(['convert', '--quiet', `oci:${source}:latest`, image]);
});
after(() => scratch[Symbol.dispose]());

test('the reference holds what this is about', { ...needs }, () => {
  assert.equal([...reference.keys()].filter(isNotUtf8).length, 19);
  assert.deepEqual(reference.get('only-empty-xattr')?.xattrs, { 'user.empty': '' });
  assert.deepEqual(reference.get('xattr-names')?.xattrs, { 'user.empty': '', 'user.\xe9': 'e9' });
  assert.equal(reference.get('plain-link')?.target, '\xff\xfe\xfd');
});

test('the kernel shows every name and time', { ...every(needs, erofs()) }, async () => {
  const dir = join(scratch.path, 'kernel');
  mkdirSync(dir);
  await using opened = await openConvertedImage(image);
  writeFileSync(join(dir, 'boot'), opened.bootstrapBytes);
  const devices = await fillDevices(opened.bootstrap, (blobId) => opened.blobReader(blobId), dir);
  await using _mounted = await mountErofs(join(dir, 'boot'), devices, join(dir, 'mnt'));
  assertSameTree(reference, await readTree(join(dir, 'mnt')));
});

test('unpack writes every name and time', { ...needs }, async () => {
  await using naiad = naiadHome(scratch.path);
  await naiad.run(['unpack', '--quiet', image, join(scratch.path, 'unpacked')]);
  assertSameTree(reference, await readTree(join(scratch.path, 'unpacked')));
});

test('a lazy mount shows every name and time', { ...every(needs, fuse(), addon()) }, async () => {
  const mountpoint = join(scratch.path, 'native');
  mkdirSync(mountpoint);
  await using naiad = naiadHome(scratch.path);
  await using _mounted = await naiad.mount(image, mountpoint, '--driver=fuse');
  assertSameTree(reference, await readTree(mountpoint));
});

test('a lazy mount by the portable driver shows every name, those that are not UTF-8 escaped', {
  ...every(needs, fuse()),
}, async () => {
  const mountpoint = join(scratch.path, 'lazy');
  mkdirSync(mountpoint);
  await using naiad = naiadHome(scratch.path);
  await using _mounted = await naiad.mount(image, mountpoint, '--driver=fuse-native');
  // The package cannot pass the name of this xattr.
  const ignore = (path: string) => path === 'xattr-names';
  assertSameFuseTree(escaped(reference), await readTree(mountpoint), { ignore });
});

/** Each name and link target that is not UTF-8 as text with its bytes as `\xNN`. */
function escaped(tree: Tree): Tree {
  const asText = (name: string) => (isNotUtf8(name) ? utf8ToByteString(displayBytes(name)) : name);
  const path = (name: string) => name.split('/').map(asText).join('/');
  return new Map(
    [...tree].map(([name, entry]) => {
      const linkGroup = entry.linkGroup === undefined ? undefined : path(entry.linkGroup);
      const target = entry.target === undefined ? undefined : asText(entry.target);
      return [path(name), { ...entry, linkGroup, target }];
    }),
  );
}
