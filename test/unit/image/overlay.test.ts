import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FileTree, type NodeId } from '../../../src/image/file-tree.ts';
import { find, layOver } from '../../../src/image/overlay.ts';
import { IMPLIED_DIRECTORY, S_IFREG } from '../../../src/image/tree.ts';
import {
  type DirectoryLiteral,
  emptyDirectory,
  type FileLiteral,
  type NodeLiteral,
  plant,
} from '../../support/planted-tree.ts';

const attributes = { uid: 0, gid: 0, mtimeSec: 0, mtimeNsec: 0, xattrs: [] };

function file(uid: number): FileLiteral {
  return { kind: 'file', mode: S_IFREG | 0o644, size: 0, chunks: [], ...attributes, uid };
}

function layer(children: Record<string, NodeLiteral>, extra: Partial<DirectoryLiteral> = {}): DirectoryLiteral {
  return {
    ...emptyDirectory(0o700),
    children: new Map(Object.entries(children)),
    explicit: false,
    opaque: false,
    whiteouts: new Set(),
    ...extra,
  };
}

/** The layers over one another. */
function laidOver(...layers: DirectoryLiteral[]): { tree: FileTree; root: NodeId } {
  const tree = new FileTree(4096);
  const root = tree.addDirectory(IMPLIED_DIRECTORY);
  for (const one of layers) layOver(tree, root, plant(tree, one));
  return { tree, root };
}

/** The tree as text: `name=uid`, directories in braces. */
function text({ tree, root }: { tree: FileTree; root: NodeId }): string {
  const one = (name: number) => {
    const node = tree.nameNode(name);
    const children = tree.isDirectory(node) && text({ tree, root: node });
    return `${tree.nameText(name)}${children === false ? `=${tree.uid(node)}` : `{${children}}`}`;
  };
  return [...tree.names(root)].map(one).sort().join(' ');
}

const rows: { name: string; layers: DirectoryLiteral[]; want: string }[] = [
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
    assert.equal(text(laidOver(...layers)), want);
  });
}

function symlink(target: string): NodeLiteral {
  return { kind: 'symlink', mode: 0o120777, target, ...attributes };
}

const throughLinks: { name: string; lower: DirectoryLiteral; upper: DirectoryLiteral; want: string }[] = [
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
    assert.equal(text(laidOver(lower, upper)), want);
  });
}

test('layOver: a listed directory changes attributes, an implied one does not', () => {
  const layers = [layer({ a: layer({}, { uid: 7, explicit: true }) }), layer({ a: layer({ x: file(1) }, { uid: 9 }) })];
  assert.equal(uidOf(laidOver(...layers), ['a']), 7);
  assert.equal(uidOf(laidOver(...layers, layer({ a: layer({}, { uid: 9, explicit: true }) })), ['a']), 9);
});

function uidOf({ tree, root }: { tree: FileTree; root: NodeId }, path: readonly string[]): number | undefined {
  const node = find(tree, root, path);
  return node && tree.uid(node);
}

const linkTo = (...target: string[]): NodeLiteral => ({ kind: 'link', target });
for (const { name, upper, want } of [
  {
    name: 'in a lower layer, even one that the layer removes',
    upper: layer({ b: linkTo('a') }, { whiteouts: new Set(['a']) }),
    want: ['b'],
  },
  { name: 'from a directory that the layer brings', upper: layer({ d: layer({ b: linkTo('a') }) }), want: ['d', 'b'] },
  {
    name: 'from a directory that the layer adds to',
    upper: layer({ e: layer({ b: linkTo('a') }) }),
    want: ['e', 'b'],
  },
]) {
  test(`layOver: a hard link finds its target ${name}`, () => {
    const lower = layer({ a: file(1), e: layer({ f: file(2) }) });
    const { tree, root } = laidOver(lower, upper);
    const a = find(tree, root, want);
    assert.ok(a !== undefined && tree.kind(a) === 'file');
    assert.equal(tree.uid(a), 1);
    const original = find(tree, root, ['a']);
    assert.ok(original === undefined || original === a);
  });
}

test('layOver: a hard link without a target is an error', () => {
  const links = [
    { kind: 'link' as const, target: ['absent'] },
    { kind: 'link' as const, target: ['d'] },
  ];
  for (const link of links) {
    assert.throws(() => laidOver(layer({ d: layer({}), b: link })), { code: 'ARCHIVE_INVALID' });
  }
});
