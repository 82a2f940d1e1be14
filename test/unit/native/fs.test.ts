import assert from 'node:assert/strict';
import { lstatSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { stringToBytes } from '../../../src/base/bytes.ts';
import { deviceMajor, makeDevice, S_IFBLK, S_IFCHR, S_IFIFO, S_IFSOCK } from '../../../src/image/tree.ts';
import { getXattr, listXattrs, makeNode, setTimes, setXattr } from '../../../src/native/fs.ts';
import { loadAddon } from '../../../src/native/load.ts';
import { addon, every, root } from '../../support/requires.ts';
import { temporaryDir } from '../../support/temporary.ts';

const NATIVE = addon();
const AS_ROOT = every(NATIVE, root());

test('native fs: times are exact, before 1970 too, and of the link itself', NATIVE, () => {
  using directory = temporaryDir('native');
  const file = join(directory.path, 'file');
  const link = join(directory.path, 'link');
  writeFileSync(file, 'x');
  symlinkSync('file', link);
  for (const { path, sec, nsec } of [
    { path: file, sec: 1_700_000_000, nsec: 123_456_789 },
    { path: file, sec: -1, nsec: 1 },
    { path: link, sec: 4_000_000_000, nsec: 999_999_999 },
    { path: file, sec: 0, nsec: 0 },
  ]) {
    const before = lstatSync(path, { bigint: true });
    setTimes(Buffer.from(path), sec, nsec);
    const after = lstatSync(path, { bigint: true });
    assert.equal(after.mtimeNs, BigInt(sec) * 1_000_000_000n + BigInt(nsec));
    assert.equal(after.atimeNs, before.atimeNs);
  }
  assert.equal(lstatSync(link, { bigint: true }).mtimeNs, 4_000_000_000_999_999_999n);
});

test('native fs: fifos and sockets', NATIVE, () => {
  using directory = temporaryDir('native');
  const fifo = join(directory.path, 'fifo');
  const socket = join(directory.path, 'socket');
  makeNode(Buffer.from(fifo), S_IFIFO | 0o600, 0);
  makeNode(Buffer.from(socket), S_IFSOCK | 0o600, 0);
  assert.equal(lstatSync(fifo).mode, S_IFIFO | 0o600);
  assert.equal(lstatSync(socket).mode, S_IFSOCK | 0o600);
});

test('native fs: device numbers up to the largest an image stores', AS_ROOT, () => {
  using directory = temporaryDir('native');
  for (const [type, major, minor] of [
    [S_IFCHR, 1, 3],
    [S_IFBLK, 259, 1_048_575],
    [S_IFCHR, 4095, 256],
  ] as const) {
    const path = join(directory.path, `${major}-${minor}`);
    makeNode(Buffer.from(path), type | 0o600, makeDevice(major, minor));
    const { rdev, mode } = lstatSync(path);
    assert.equal(rdev, makeDevice(major, minor));
    assert.equal(deviceMajor(rdev), major);
    assert.equal(mode, type | 0o600);
  }
});

test('native fs: xattrs of files with names that are not UTF-8', NATIVE, () => {
  using directory = temporaryDir('native');
  const path = Buffer.concat([Buffer.from(`${directory.path}/`), stringToBytes('\xff\xfe')]);
  writeFileSync(path, '');
  assert.deepEqual(listXattrs(path), []);
  const value = Buffer.from([0, 1, 255, 0]);
  setXattr(path, 'user.one', value);
  setXattr(path, 'user.\xe4', Buffer.alloc(0));
  setXattr(path, 'user.one', value.subarray(1));
  assert.deepEqual(listXattrs(path).sort(), ['user.one', 'user.\xe4']);
  assert.deepEqual(getXattr(path, 'user.one'), Buffer.from([1, 255, 0]));
  assert.deepEqual(getXattr(path, 'user.\xe4'), Buffer.alloc(0));
});

test('native fs: trusted xattrs and capabilities, of symlinks where the kernel allows', AS_ROOT, () => {
  using directory = temporaryDir('native');
  const link = Buffer.from(join(directory.path, 'link'));
  symlinkSync('nowhere', link);
  setXattr(link, 'trusted.naiad', Buffer.from('v'));
  assert.deepEqual(listXattrs(link), ['trusted.naiad']);
  const file = Buffer.from(join(directory.path, 'file'));
  writeFileSync(file, '');
  // cap_net_raw=ep, revision 2, as setcap writes it.
  const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex');
  setXattr(file, 'security.capability', capability);
  assert.deepEqual(getXattr(file, 'security.capability'), capability);
});

const MISSING = Buffer.from('/nonexistent/path');
for (const { name, act, code, message } of [
  {
    name: 'mknod below nothing',
    act: () => makeNode(MISSING, S_IFIFO, 0),
    code: 'PATH_NOT_FOUND',
    message: 'mknod /nonexistent/path: no such file or directory (ENOENT)',
  },
  {
    name: 'times of nothing',
    act: () => setTimes(MISSING, 0, 0),
    code: 'PATH_NOT_FOUND',
    message: 'utimensat /nonexistent/path: no such file or directory (ENOENT)',
  },
  {
    name: 'nanoseconds out of range',
    act: () => setTimes(Buffer.from('/'), 0, 1_000_000_000),
    code: 'IO',
    message: 'utimensat /: invalid argument (EINVAL)',
  },
  {
    name: 'an xattr that is not there',
    act: () => getXattr(Buffer.from('/'), 'user.naiad-none'),
    code: 'IO',
    message: 'lgetxattr user.naiad-none /: no data available (ENODATA)',
  },
  {
    name: 'a namespace that is none',
    act: () => setXattr(Buffer.from('/'), 'nonsense.x', Buffer.alloc(1)),
    code: 'IO',
    message: 'lsetxattr nonsense.x /: operation not supported (ENOTSUP)',
  },
  {
    name: 'a list of nothing',
    act: () => listXattrs(MISSING),
    code: 'PATH_NOT_FOUND',
    message: 'llistxattr /nonexistent/path: no such file or directory (ENOENT)',
  },
  {
    name: 'a fifo where something is',
    act: () => makeNode(Buffer.from('/'), S_IFIFO, 0),
    code: 'TARGET_EXISTS',
    message: 'mknod /: file already exists (EEXIST)',
  },
]) {
  test(`native fs: ${name} is ${code}`, NATIVE, () => assert.throws(act, { name: 'NaiadError', code, message }));
}

/** Called past its types, the addon must throw and not crash. */
test('native fs: wrong arguments are TypeErrors', NATIVE, () => {
  const raw = loadAddon() as unknown as Record<string, (...values: unknown[]) => unknown>;
  const path = Buffer.from('/');
  for (const [operation, values, message] of [
    ['mknod', [], 'argument 0 must be a Buffer'],
    ['mknod', ['/', 1, 1], 'argument 0 must be a Buffer'],
    ['mknod', [Buffer.from('a\0b'), 1, 1], 'argument 0 must be free of NUL bytes'],
    ['mknod', [path, '1', 1], 'argument 1 must be a number'],
    ['mknod', [path, 1, 1.5], 'argument 2 must be an integer'],
    ['setTimes', [path, Number.NaN, 0], 'argument 1 must be an integer'],
    ['setTimes', [path, 0, 2 ** 60], 'argument 2 must be an integer'],
    ['setXattr', [path, Buffer.from('user.x'), 'text'], 'argument 2 must be a Buffer'],
    ['getXattr', [path, null], 'argument 1 must be a Buffer'],
    ['listXattrs', [undefined], 'argument 0 must be a Buffer'],
    ['mount', [path, path, path, 0, {}], 'argument 4 must be a Buffer'],
    ['umount', [path], 'argument 1 must be a number'],
  ] as const) {
    assert.throws(() => raw[operation]?.(...values), { name: 'TypeError', message }, operation);
  }
});

test('native fs: a symlink is not followed', AS_ROOT, () => {
  using directory = temporaryDir('native');
  mkdirSync(join(directory.path, 'real'));
  const link = Buffer.from(join(directory.path, 'link'));
  symlinkSync('real', link);
  assert.throws(() => setXattr(link, 'user.x', Buffer.alloc(1)), { code: 'PERMISSION' });
  assert.deepEqual(listXattrs(Buffer.from(join(directory.path, 'real'))), []);
});
