// The judge is judged first: each way in which two trees can differ is found, and nothing else is reported.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { every, program, root } from '../../support/requires.ts';
import { temporaryDir } from '../../support/temporary.ts';
import { diffTrees, isNotUtf8, readTree } from '../../support/tree.ts';

const STAGE = `
mkdir -p d/sub && echo one > d/one && ln d/one d/same && ln -s one d/link && mkfifo d/fifo && mknod d/char c 5 70000
setfattr -n user.a -v 1 d/one && setfattr -n trusted.b -v 2 d/sub && setfattr -n user.empty d/char 2>/dev/null || true
printf odd > $'d/new\\nline' && printf odd > $'d/\\xff' && setfattr -n user.odd -v x $'d/new\\nline'
find . -exec touch -h -d '2020-01-02 03:04:05.123456789 UTC' {} +`;

const CHANGES: readonly { change: string; differences: readonly string[] }[] = [
  { change: 'true', differences: [] },
  {
    change: 'chmod 4644 d/one',
    differences: ['/d/one: mode: expected 420, got 2468', '/d/same: mode: expected 420, got 2468'],
  },
  {
    change: 'chown -h 1:2 d/link',
    differences: ['/d/link: uid: expected 0, got 1', '/d/link: gid: expected 0, got 2'],
  },
  {
    change: "touch -h -d '2020-01-02 03:04:05.123456788 UTC' d/link",
    differences: ['/d/link: mtimeNs: expected 1577934245123456789, got 1577934245123456788'],
  },
  {
    change: "echo two > d/one; touch -d '2020-01-02 03:04:05.123456789 UTC' d/one",
    differences: [
      '/d/one: content: expected 2c8b08da5ce60398e1f19af0e5dccc744df274b826abe585eaba68c525434806, got 27dd8ed44a83ff94d557f9fd0412ed5a8cbca69ea04922d88c01184a07300a5a',
      '/d/same: content: expected 2c8b08da5ce60398e1f19af0e5dccc744df274b826abe585eaba68c525434806, got 27dd8ed44a83ff94d557f9fd0412ed5a8cbca69ea04922d88c01184a07300a5a',
    ],
  },
  {
    change: "cp -a d/same d/new && mv d/new d/same; touch -h -d '2020-01-02 03:04:05.123456789 UTC' d",
    differences: [
      '/d/one: nlink: expected 2, got 1',
      '/d/same: nlink: expected 2, got 1',
      '/d/same: linkGroup: expected d/one, got d/same',
    ],
  },
  {
    change: 'setfattr -n user.a -v 2 d/one',
    differences: ['/d/one: xattr user.a: expected 31, got 32', '/d/same: xattr user.a: expected 31, got 32'],
  },
  { change: 'setfattr -x trusted.b d/sub', differences: ['/d/sub: xattr trusted.b: expected 32, got none'] },
  {
    change: "rm d/char && mknod d/char c 5 70001; touch -h -d '2020-01-02 03:04:05.123456789 UTC' d d/char",
    differences: ['/d/char: device: expected 5:70000, got 5:70001'],
  },
  {
    change: "rm d/fifo && mkdir -p new; touch -h -d '2020-01-02 03:04:05.123456789 UTC' . d new",
    differences: ['/: nlink: expected 3, got 4', '/d/fifo: missing', '/new: not expected (directory)'],
  },
  {
    change: "rm d/link && ln -s two d/link; touch -h -d '2020-01-02 03:04:05.123456789 UTC' d d/link",
    differences: ['/d/link: target: expected one, got two'],
  },
];

for (const { change, differences } of CHANGES) {
  test(`trees differ by: ${change}`, { ...every(root(), program('getfattr')) }, async () => {
    using directory = temporaryDir('tree');
    const [before, after] = [join(directory.path, 'before'), join(directory.path, 'after')];
    for (const place of [before, after]) execFileSync('bash', ['-c', `mkdir -p ${place} && cd ${place} && ${STAGE}`]);
    execFileSync('bash', ['-c', change], { cwd: after });
    assert.deepEqual(diffTrees(await readTree(before), await readTree(after)), differences);
  });
}

test('what a driver cannot express is left out on request, and only that', {
  ...every(root(), program('getfattr')),
}, async () => {
  using directory = temporaryDir('tree');
  execFileSync('bash', ['-c', STAGE], { cwd: directory.path });
  const tree = await readTree(directory.path);
  const mangled = new Map(tree);
  mangled.delete('d/\xff');
  assert.deepEqual(diffTrees(tree, mangled), ['/d/\\xff: missing']);
  assert.deepEqual(diffTrees(tree, mangled, { ignore: isNotUtf8 }), []);
  const one = tree.get('d/one');
  assert.ok(one);
  const rounded = new Map(tree).set('d/one', { ...one, mtimeNs: one.mtimeNs - 456_789n });
  assert.equal(diffTrees(tree, rounded).length, 1);
  assert.deepEqual(diffTrees(tree, rounded, { timeGrainNs: 1_000_000n }), []);
  assert.deepEqual(one.xattrs, { 'user.a': '31' });
  assert.deepEqual(tree.get('d/new\nline')?.xattrs, { 'user.odd': '78' });
});
