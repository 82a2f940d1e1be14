import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Bootstrap } from '../../../src/image/bootstrap-reader.ts';
import { type Attributes, makeDevice, S_IFCHR, S_IFREG } from '../../../src/image/tree.ts';
import { type DiffedImage, diffImages, type NameDiff } from '../../../src/look/diff.ts';
import { convertedTree, type Texts } from '../../support/converted-tree.ts';
import { emptyDirectory, type NodeLiteral, writeBootstrap } from '../../support/planted-tree.ts';

const LONG = Array.from({ length: 3000 }, (_, i) => `line ${i}`).join('\n');

function imageOf(texts: Texts): DiffedImage {
  const { bootstrap, readerOf } = convertedTree(texts);
  return { bootstrap, blobReader: readerOf };
}

/** `-/a`, `+/b`, `~/c content time` */
function shown({ names }: { readonly names: readonly NameDiff[] }): string[] {
  const signs = { first: '-', second: '+', changed: '~' };
  return names.map(({ kind, path, differs = [] }) => [signs[kind] + path, ...differs].join(' '));
}

test('diff: names of one image alone, in the order of a walk, and contents by their chunks', async () => {
  const first = imageOf({ a: { x: '1', y: LONG }, ab: '', b: { deep: { z: '' } }, same: LONG });
  const second = imageOf({ a: { y: `${LONG.slice(0, -1)}!`, z: '' }, ab: '', c: '', same: LONG });
  const diff = await diffImages(first, second);
  assert.deepEqual(shown(diff), ['-/a/x', '~/a/y content', '+/a/z', '-/b', '-/b/deep', '-/b/deep/z', '+/c']);
  assert.equal(diff.same, 4); // The root, /a, /ab and /same.
  assert.equal(diff.byDigest, true);
});

test('diff: an image and itself', async () => {
  const image = imageOf({ a: { x: '1' }, long: LONG });
  const { names, same, stored } = await diffImages(image, image);
  assert.deepEqual([names, same], [[], 4]);
  assert.equal(stored.total, LONG.length + 1);
  assert.deepEqual(stored, { total: stored.total, inSharedBlobs: stored.total, sameContent: 0 });
});

test('diff: what is left to fetch is what is neither in a shared blob nor the same content', async () => {
  const { stored } = await diffImages(imageOf({ long: LONG }), imageOf({ long: LONG, more: 'more' }));
  assert.deepEqual(stored, { total: LONG.length + 4, inSharedBlobs: 0, sameContent: LONG.length });
});

const PLAIN: Attributes = { mode: S_IFREG | 0o644, uid: 0, gid: 0, mtimeSec: 7, mtimeNsec: 8, xattrs: [] };
const file = (change: Partial<Attributes> = {}): NodeLiteral => ({
  ...{ ...PLAIN, ...change },
  ...{ kind: 'file', size: 0, chunks: [] },
});
const device = (minor: number): NodeLiteral => ({
  ...{ ...PLAIN, mode: S_IFCHR | 0o600 },
  ...{ kind: 'special', rdev: makeDevice(1, minor) },
});

function planted(children: Readonly<Record<string, NodeLiteral>>): DiffedImage {
  const root = { ...emptyDirectory(), children: new Map(Object.entries(children)) };
  const { bytes } = writeBootstrap({ root, blobs: [], chunkSize: 4096, compressor: 'none', digester: 'sha256' });
  const blobReader = () => assert.fail('there is no blob');
  return { bootstrap: Bootstrap.parse(bytes), blobReader };
}

const xattrs = (value: string) => [{ name: 'user.x', value: Buffer.from(value) }];
const attributes: [string, NodeLiteral, NodeLiteral][] = [
  ['mode', file(), file({ mode: S_IFREG | 0o4755 })],
  ['owner', file(), file({ gid: 5 })],
  ['time', file(), file({ mtimeNsec: 9 })],
  ['xattrs', file({ xattrs: xattrs('1') }), file({ xattrs: xattrs('2') })],
  ['xattrs', file(), file({ xattrs: xattrs('') })],
  ['device', device(3), device(5)],
  ['type', file(), device(3)],
];
for (const [what, before, after] of attributes) {
  test(`diff: another ${what}`, async () => {
    assert.deepEqual(shown(await diffImages(planted({ n: before }), planted({ n: after }))), [`~/n ${what}`]);
  });
}

test('diff: a link more', async () => {
  const one = file();
  const diff = await diffImages(planted({ a: file() }), planted({ a: one, b: one }));
  assert.deepEqual(shown(diff), ['~/a links', '+/b']);
});

test('diff: a link elsewhere', async () => {
  const diff = await diffImages(imageOf({ l: '-> a', x: 'x' }), imageOf({ l: '-> b', x: 'x' }));
  assert.deepEqual(shown(diff), ['~/l target']);
});

test('diff: without times, what differs in nothing else is the same', async () => {
  const after = planted({ a: file({ mtimeSec: 9 }), b: file({ mtimeSec: 9, uid: 1 }) });
  const diff = await diffImages(planted({ a: file(), b: file() }), after, { ignoreTimes: true });
  assert.deepEqual(shown(diff), ['~/b owner']);
});
