import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FileTree, type NodeId } from '../../../src/image/file-tree.ts';
import { IMPLIED_DIRECTORY, S_IFREG } from '../../../src/image/tree.ts';

const attributes = { ...IMPLIED_DIRECTORY, mode: S_IFREG | 0o644 };

function textOf(tree: FileTree, names: Iterable<number>): string[] {
  return [...names].map((name) => tree.nameText(name));
}

test('a file keeps what it was given, to the ends of its ranges', () => {
  const tree = new FileTree(4096);
  const rows = [
    { mode: 0o107777, uid: 0xffff_ffff, gid: 0, mtimeSec: -(2 ** 40), mtimeNsec: 999_999_999, size: 2 ** 44 },
    { mode: 0o100000, uid: 0, gid: 0xffff_ffff, mtimeSec: 2 ** 40, mtimeNsec: 0, size: 0 },
  ];
  for (const { size, ...row } of rows) {
    const node = tree.addSpecial({ ...row, xattrs: [] }, 7);
    const read = { mode: tree.mode(node), uid: tree.uid(node), gid: tree.gid(node) };
    assert.deepEqual({ ...read, mtimeSec: tree.mtimeSec(node), mtimeNsec: tree.mtimeNsec(node) }, row);
  }
  const chunks = Array.from({ length: 40_000 }, (_, index) => 253 * 2 ** 24 + index);
  const file = tree.addFile(attributes, 40_000 * 4096 - 1, chunks);
  assert.equal(tree.size(file), 40_000 * 4096 - 1);
  assert.equal(tree.chunk(tree.addFile(attributes, 4096, [2 ** 32 - 1]), 0), 2 ** 32 - 1);
  assert.deepEqual(
    chunks.map((_, position) => tree.chunk(file, position)),
    chunks,
  );
});

test('attributes that recur are kept once, and large ones whole', () => {
  const tree = new FileTree(4096);
  const label = (value: string) => [{ name: 'security.selinux', value: Buffer.from(value) }];
  const nodes = ['a', 'b', 'a'].map((value) => tree.addSpecial({ ...attributes, xattrs: label(value) }, 0));
  const areas = nodes.map((node) => Buffer.from(tree.xattrArea(node)).toString('latin1'));
  assert.equal(areas[0], areas[2]);
  assert.notEqual(areas[0], areas[1]);
  const large = tree.addSpecial({ ...attributes, xattrs: label('x'.repeat(60_000)) }, 0);
  assert.ok(Buffer.from(tree.xattrArea(large)).includes('x'.repeat(60_000)));
  assert.equal(tree.xattrArea(tree.addSpecial(attributes, 0)).length, 0);
});

test('sets of owners are told apart, also when they are too many to be found again', () => {
  const tree = new FileTree(4096);
  const owners = Array.from({ length: 20_000 }, (_, i) => ({
    uid: (i * 7919) % 5000,
    gid: i % 7,
    mode: S_IFREG | (i % 512),
  }));
  const nodes = owners.map((owner) => tree.addSpecial({ ...attributes, ...owner }, 0));
  assert.deepEqual(
    nodes.map((node) => ({ uid: tree.uid(node), gid: tree.gid(node), mode: tree.mode(node) })),
    owners,
  );
});

test('names of many directories are told apart, and come in byte order', () => {
  const tree = new FileTree(4096);
  const directories = Array.from({ length: 300 }, () => tree.addDirectory(IMPLIED_DIRECTORY));
  const names = Array.from(
    { length: 100 },
    (_, i) => `${String.fromCharCode(33 + ((i * 37) % 14))}${(i * 7919) % 1000}`,
  );
  const expected = new Map<string, NodeId>();
  for (const directory of directories) {
    for (const name of names) {
      const node = tree.addSpecial(attributes, directory);
      tree.setChild(directory, name, node);
      expected.set(`${directory} ${name}`, node);
    }
  }
  for (const directory of directories) {
    for (const name of names) assert.equal(tree.child(directory, name), expected.get(`${directory} ${name}`));
    assert.equal(tree.child(directory, 'absent'), undefined);
    assert.deepEqual(textOf(tree, tree.storedNames(directory)), [...names, '.', '..'].sort());
  }
});

test('a directory behaves as a map, also once its names were sorted', () => {
  const name = fc.constantFrom('', 'a', 'b', 'c', '-', '.a', '\xff', 'a'.repeat(255));
  const step = fc.record({ what: fc.constantFrom('set', 'remove', 'clear', 'sort'), name });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const tree = new FileTree(4096);
      const directory = tree.addDirectory(IMPLIED_DIRECTORY);
      const map = new Map<string, NodeId>();
      for (const { what, name } of steps) {
        if (what === 'set') {
          map.set(name, tree.addSpecial(attributes, 0));
          tree.setChild(directory, name, map.get(name) as NodeId);
        } else if (what === 'remove') {
          map.delete(name);
          tree.removeChild(directory, name);
        } else if (what === 'clear') {
          map.clear();
          tree.removeChildren(directory);
        } else assert.deepEqual(textOf(tree, tree.storedNames(directory)), [...map.keys(), '.', '..'].sort());
      }
      const seen = [...tree.names(directory)].map((id) => [tree.nameText(id), tree.nameNode(id)]);
      assert.deepEqual(seen.sort(), [...map].sort());
    }),
  );
});
