import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LayerDirectory, LayerNode } from '../../../src/image/layer-tree.ts';
import { layOver } from '../../../src/image/overlay.ts';
import { type DirectoryNode, emptyDirectory, type FileNode, type Node, S_IFREG } from '../../../src/image/tree.ts';

const attributes = { uid: 0, gid: 0, mtimeSec: 0, mtimeNsec: 0, xattrs: [] };

function file(uid: number): FileNode {
  return { kind: 'file', mode: S_IFREG | 0o644, size: 0, chunks: [], ...attributes, uid };
}

function layer(children: Record<string, LayerNode>, extra: Partial<LayerDirectory> = {}): LayerDirectory {
  return {
    ...emptyDirectory(0o700),
    children: new Map(Object.entries(children)),
    explicit: false,
    opaque: false,
    whiteouts: new Set(),
    ...extra,
  };
}

/** The tree as text: `name=uid`, directories in braces. */
function text(directory: DirectoryNode): string {
  const one = ([name, node]: [string, Node]) =>
    node.kind === 'directory' ? `${name}{${text(node)}}` : `${name}=${node.uid}`;
  return [...directory.children].sort().map(one).join(' ');
}

const rows: { name: string; layers: LayerDirectory[]; want: string }[] = [
  { name: 'adds', layers: [layer({ a: file(1) }), layer({ b: file(2) })], want: 'a=1 b=2' },
  { name: 'replaces a file', layers: [layer({ a: file(1) }), layer({ a: file(2) })], want: 'a=2' },
  {
    name: 'replaces a directory by a file, and back',
    layers: [layer({ a: layer({ x: file(1) }) }), layer({ a: file(2) }), layer({ a: layer({ y: file(3) }) })],
    want: 'a{y=3}',
  },
  {
    name: 'removes by whiteout, and ignores one without a target',
    layers: [layer({ a: file(1), b: file(1) }), layer({}, { whiteouts: new Set(['a', 'absent']) })],
    want: 'b=1',
  },
  {
    name: 'keeps what the same layer adds under a whited-out name',
    layers: [layer({ a: layer({ x: file(1) }) }), layer({ a: layer({ y: file(2) }) }, { whiteouts: new Set(['a']) })],
    want: 'a{y=2}',
  },
  {
    name: 'hides below an opaque directory, and keeps what the layer adds there',
    layers: [layer({ a: layer({ x: file(1) }) }), layer({ a: layer({ y: file(2) }, { opaque: true }) })],
    want: 'a{y=2}',
  },
  {
    name: 'goes through directories that the archive did not list',
    layers: [layer({}), layer({ a: layer({ b: layer({ c: file(1) }) }) })],
    want: 'a{b{c=1}}',
  },
  {
    name: 'does not keep markers of the lowest layer',
    layers: [layer({ a: file(1) }, { opaque: true, whiteouts: new Set(['b']) })],
    want: 'a=1',
  },
];
for (const { name, layers, want } of rows) {
  test(`layOver: ${name}`, () => {
    const root = emptyDirectory();
    for (const one of layers) layOver(root, one);
    assert.equal(text(root), want);
  });
}

function symlink(target: string): LayerNode {
  return { kind: 'symlink', mode: 0o120777, target, ...attributes };
}

const throughLinks: { name: string; lower: LayerDirectory; upper: LayerDirectory; want: string }[] = [
  {
    name: 'an implied directory goes through a symlink below',
    lower: layer({ lib: symlink('usr/lib'), usr: layer({ lib: layer({ a: file(1) }) }) }),
    upper: layer({ lib: layer({ b: file(2) }, { whiteouts: new Set(['a']) }) }),
    want: 'lib=0 usr{lib{b=2}}',
  },
  {
    name: 'through several, absolute and with dots',
    lower: layer({ a: symlink('/x/b'), x: layer({ b: symlink('../../x/./c'), c: layer({}) }) }),
    upper: layer({ a: layer({ f: file(2) }) }),
    want: 'a=0 x{b=0 c{f=2}}',
  },
  {
    name: 'a listed directory replaces the symlink',
    lower: layer({ lib: symlink('usr'), usr: layer({}) }),
    upper: layer({ lib: layer({ b: file(2) }, { explicit: true }) }),
    want: 'lib{b=2} usr{}',
  },
  {
    name: 'an implied directory replaces a symlink to nowhere, or in a loop',
    lower: layer({ a: symlink('absent'), b: symlink('b') }),
    upper: layer({ a: layer({ f: file(1) }), b: layer({ f: file(2) }) }),
    want: 'a{f=1} b{f=2}',
  },
];
for (const { name, lower, upper, want } of throughLinks) {
  test(`layOver: ${name}`, () => {
    const root = emptyDirectory();
    layOver(root, lower);
    layOver(root, upper);
    assert.equal(text(root), want);
  });
}

test('layOver: a listed directory changes attributes, an implied one does not', () => {
  const root = emptyDirectory();
  layOver(root, layer({ a: layer({}, { uid: 7, explicit: true }) }));
  layOver(root, layer({ a: layer({ x: file(1) }, { uid: 9 }) }));
  assert.equal((root.children.get('a') as DirectoryNode).uid, 7);
  layOver(root, layer({ a: layer({}, { uid: 9, explicit: true }) }));
  assert.equal((root.children.get('a') as DirectoryNode).uid, 9);
});

test('layOver: a hard link finds its target in a lower layer, even one that the layer removes', () => {
  const root = emptyDirectory();
  const target = file(1);
  layOver(root, layer({ a: target }));
  layOver(root, layer({ b: { kind: 'link', target: ['a'] } }, { whiteouts: new Set(['a']) }));
  assert.equal(text(root), 'b=1');
  assert.equal(root.children.get('b'), target);
});

test('layOver: a hard link without a target is an error', () => {
  const links = [
    { kind: 'link' as const, target: ['absent'] },
    { kind: 'link' as const, target: ['d'] },
  ];
  for (const link of links) {
    const one = layer({ d: layer({}), b: link });
    assert.throws(() => layOver(emptyDirectory(), one), { code: 'ARCHIVE_INVALID' });
  }
});
