import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { MNT_DETACH, MS_BIND, MS_RDONLY, mount, umount } from '../../../src/native/mount.ts';
import { addon, every, root } from '../../support/requires.ts';
import { temporaryDir } from '../../support/temporary.ts';

const AS_ROOT = every(addon(), root());

test('native mount: a tmpfs and a bind mount of it come and go', AS_ROOT, async () => {
  using directory = temporaryDir('mount');
  const a = join(directory.path, 'a');
  const b = join(directory.path, 'b');
  mkdirSync(a);
  mkdirSync(b);
  await mount({ source: 'tmpfs', target: a, type: 'tmpfs', options: 'size=1m,mode=0700' });
  try {
    writeFileSync(join(a, 'file'), 'in memory');
    await mount({ source: a, target: b, type: '', flags: MS_BIND });
    assert.equal(readFileSync(join(b, 'file'), 'utf8'), 'in memory');
    await assert.rejects(mount({ source: a, target: b, type: '', flags: MS_RDONLY }), { code: 'DRIVER_UNAVAILABLE' });
    await umount(b);
  } finally {
    await umount(a, MNT_DETACH);
  }
  await assert.rejects(umount(a), { code: 'NOT_MOUNTED', message: `unmounting ${a}: EINVAL` });
});

for (const { name, options, code } of [
  {
    name: 'a file system that is none',
    options: { source: 'x', target: '/', type: 'nonsense' },
    code: 'DRIVER_UNAVAILABLE',
  },
  {
    name: 'a target that is not there',
    options: { source: 'x', target: '/nonexistent/dir', type: 'tmpfs' },
    code: 'MOUNTPOINT_INVALID',
  },
  {
    name: 'options the file system does not know',
    options: { source: 'x', target: '/mnt', type: 'tmpfs', options: 'nonsense=1' },
    code: 'MOUNT_FAILED',
  },
]) {
  test(`native mount: ${name} is ${code}`, AS_ROOT, () => assert.rejects(mount(options), { name: 'NaiadError', code }));
}

test('native mount: what is in use says so', AS_ROOT, async () => {
  using directory = temporaryDir('mount');
  await mount({ source: 'tmpfs', target: directory.path, type: 'tmpfs' });
  const before = process.cwd();
  try {
    process.chdir(directory.path);
    await assert.rejects(umount(directory.path), {
      code: 'MOUNTPOINT_BUSY',
      hint: 'Processes still use it; `fuser -vm` on the directory shows which.',
    });
  } finally {
    process.chdir(before);
    await umount(directory.path, MNT_DETACH);
  }
});
