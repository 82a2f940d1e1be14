import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Code } from '../../../src/base/errors.ts';
import { LayerBuilder } from '../../../src/convert/layer-builder.ts';
import { FileTree, type NodeId } from '../../../src/image/file-tree.ts';
import { readLayerTar } from '../../../src/tar/read-layer.ts';
import { archive, inPieces, type Member, member } from '../../support/tar-bytes.ts';

interface Built {
  readonly tree: FileTree;
  readonly builder: LayerBuilder;
}

async function built(members: readonly Member[], whiteouts = true): Promise<Built> {
  const tree = new FileTree(4096);
  const builder = new LayerBuilder({ tree, whiteouts });
  const entries = readLayerTar(inPieces(archive(...members.map((one) => member(one))), 1 << 20));
  for await (const entry of entries) await builder.add(entry, async () => [0]);
  return { tree, builder };
}

/** The layer as text: files with their mode, explicit directories with theirs, markers, links to elsewhere. */
function text({ tree, builder }: Built): string {
  const seen = new Map<NodeId, string>();
  const permissions = (node: NodeId) => (tree.mode(node) & 0o7777).toString(8);
  const show = (node: NodeId, path: string): string => {
    const kind = tree.kind(node);
    if (kind === 'link') return `=>/${tree.target(node)}`;
    if (kind === 'directory') {
      const marks = [
        ...(tree.opaque(node) ? ['opaque'] : []),
        ...[...tree.whiteouts(node)].sort().map((name) => `-${name}`),
      ];
      const own = tree.explicit(node) ? `(${permissions(node)})` : '';
      const children = [...tree.names(node)]
        .map((name) => ({ name: tree.nameText(name), child: tree.nameNode(name) }))
        .sort((a, b) => (a.name < b.name ? -1 : 1));
      return `${own}{${[...marks, ...children.map(({ name, child }) => `${name}${show(child, `${path}/${name}`)}`)].join(' ')}}`;
    }
    const first = seen.get(node);
    if (first) return `=${first}`;
    seen.set(node, path);
    return kind === 'symlink' ? `->${tree.target(node)}` : `:${permissions(node)}`;
  };
  return show(builder.root, '');
}

const dir = (name: string, mode = 0o755): Member => ({ name, type: '5', mode });
const file = (name: string, mode = 0o644): Member => ({ name, mode });
const symlink = (name: string, linkname: string): Member => ({ name, type: '2', linkname });
const link = (name: string, linkname: string): Member => ({ name, type: '1', linkname });

for (const { name, members, want } of [
  { name: 'nothing', members: [], want: '{}' },
  { name: 'the root itself', members: [dir('./', 0o711)], want: '(711){}' },
  { name: 'parents nobody described', members: [file('a/b/c')], want: '{a{b{c:644}}}' },
  { name: 'a directory described after its content', members: [file('a/b'), dir('a', 0o700)], want: '{a(700){b:644}}' },
  { name: 'a directory twice', members: [dir('a', 0o700), file('a/b'), dir('a', 0o750)], want: '{a(750){b:644}}' },
  { name: 'a file twice', members: [file('a', 0o600), file('a', 0o640)], want: '{a:640}' },
  { name: 'a file over a directory, and back', members: [file('a/b'), file('a'), dir('a')], want: '{a(755){}}' },
  {
    name: 'whiteouts, whatever comes before or after',
    members: [file('d/keep'), file('d/.wh.keep'), file('d/.wh.gone'), file('.wh.d2')],
    want: '{-d2 d{-gone -keep keep:644}}',
  },
  { name: 'an opaque directory', members: [file('d/a'), file('d/.wh..wh..opq')], want: '{d{opaque a:644}}' },
  { name: 'an opaque root', members: [file('.wh..wh..opq')], want: '{opaque}' },
  {
    name: 'state of AUFS',
    members: [dir('.wh..wh.plnk'), file('.wh..wh.plnk/1.2'), file('.wh..wh.aufs'), file('d/.wh.'), file('a')],
    want: '{a:644}',
  },
  { name: 'a hard link in the layer', members: [file('a'), link('b/c', './a')], want: '{a:644 b{c=/a}}' },
  { name: 'a hard link to a symlink', members: [symlink('s', 'x'), link('t', 's')], want: '{s->x t=/s}' },
  {
    name: 'a hard link whose target is replaced later',
    members: [file('a'), link('b', 'a'), file('a', 0o600)],
    want: '{a:600 b:644}',
  },
  { name: 'a hard link to a layer below', members: [link('b', 'usr/a')], want: '{b=>/usr/a}' },
  { name: 'a link to such a link', members: [link('b', 'usr/a'), link('c', 'b')], want: '{b=>/usr/a c=>/usr/a}' },
  { name: 'a link to itself', members: [file('a', 0o600), link('a', 'a')], want: '{a:600}' },
  {
    name: 'a path through a symlink',
    members: [symlink('lib', 'usr/lib'), file('lib/x')],
    want: '{lib->usr/lib usr{lib{x:644}}}',
  },
  {
    name: 'a path through an absolute symlink and one with dots',
    members: [symlink('a/l', '/b'), symlink('b/m', '../../../c/./d'), file('a/l/m/x')],
    want: '{a{l->/b} b{m->../../../c/./d} c{d{x:644}}}',
  },
  {
    name: 'a whiteout, an opaque marker and a hard link through a symlink',
    members: [symlink('l', 'd'), file('d/f'), file('l/.wh.x'), file('l/.wh..wh..opq'), link('g', 'l/f')],
    want: '{d{opaque -x f:644} g=/d/f l->d}',
  },
  { name: 'a directory over a symlink', members: [symlink('l', 'd'), dir('l'), file('l/x')], want: '{l(755){x:644}}' },
]) {
  test(`builds ${name}`, async () => {
    assert.equal(text(await built(members)), want);
  });
}

test('in a root directory .wh. is a name like any other', async () => {
  assert.equal(text(await built([file('.wh.a'), file('d/.wh..wh..opq')], false)), '{.wh.a:644 d{.wh..wh..opq:644}}');
});

for (const { name, members, code } of [
  { name: 'a path through a file', members: [file('a'), file('a/b')], code: 'PATH_UNSAFE' },
  { name: 'a path through a link to below', members: [link('a', 'x'), file('a/b')], code: 'PATH_UNSAFE' },
  {
    name: 'a path through a loop of symlinks',
    members: [symlink('a', 'b'), symlink('b', 'a'), file('a/x')],
    code: 'PATH_UNSAFE',
  },
  { name: 'a root that is a file', members: [file('.')], code: 'PATH_UNSAFE' },
  { name: 'a root that is a symlink', members: [symlink('.', 'x')], code: 'PATH_UNSAFE' },
  { name: 'a whiteout of the directory itself', members: [file('d/.wh..')], code: 'PATH_UNSAFE' },
  { name: 'a whiteout of the parent', members: [file('d/.wh...')], code: 'PATH_UNSAFE' },
  { name: 'something below a whiteout', members: [file('.wh.a/b')], code: 'PATH_UNSAFE' },
  { name: 'a hard link to a directory', members: [dir('d'), link('l', 'd')], code: 'ARCHIVE_INVALID' },
  { name: 'a hard link to the root', members: [link('l', './')], code: 'ARCHIVE_INVALID' },
] as const satisfies readonly { name: string; members: readonly Member[]; code: Code }[]) {
  test(`refuses ${name}`, async () => {
    await assert.rejects(built(members), { code });
  });
}

test('counts what the layer brings', async () => {
  const { builder } = await built([file('a/b/c'), file('a/.wh.x'), link('l', 'a/b/c'), dir('a')]);
  assert.deepEqual({ entries: builder.entries, files: builder.files }, { entries: 5, files: 1 });
});
