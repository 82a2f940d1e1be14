// A user who is not root mounts with the driver `fuse`, through fusermount3, and is told what is lacking with the others.
import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { patterned } from '../support/blobs.ts';
import { driver } from '../support/drivers.ts';
import { mountpointsBelow, NAIAD, naiadHome } from '../support/naiad.ts';
import { addon, every, program, root } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { temporaryDir } from '../support/temporary.ts';

const NOBODY = 65534;
const needs = every(root(), addon(), program('setpriv'), program('unshare'), program('fusermount3'), driver('fuse'));

const scratch = temporaryDir('ordinary');
const dir = join(scratch.path, 'home');
const mountpoint = join(dir, 'mnt');
const image = `oci:${join(scratch.path, 'layout')}:x`;
const content = patterned(700_000, 7);
const home = naiadHome(dir);

before(async () => {
  if (needs.skip !== false) return;
  const tree = join(scratch.path, 'tree');
  mkdirSync(tree);
  writeFileSync(join(tree, 'file'), content);
  await using naiad = naiadHome(join(scratch.path, 'convert'));
  await naiad.run(['convert', '--quiet', `dir:${tree}`, image]);
  // The layout must be readable by others, as images in a registry are.
  await runTool('chmod', ['-R', 'a+rX', join(scratch.path, 'layout')]);
  chmodSync(scratch.path, 0o755);
  for (const path of [dir, mountpoint]) {
    mkdirSync(path);
    chownSync(path, NOBODY, NOBODY);
  }
});
after(() => scratch[Symbol.dispose]());

/**
 * Runs a shell script as nobody, with cache and state of nobody's own, in a mount namespace where /dev/fuse is open to
 * everybody, as udev makes it and not every container has it. `naiad` is the command.
 */
function asNobody(script: string, okay: readonly number[] = [0]) {
  const device = `mknod -m 666 ${scratch.path}/fuse c 10 229 2> /dev/null; mount --bind ${scratch.path}/fuse /dev/fuse`;
  const user = `exec setpriv --reuid=${NOBODY} --regid=${NOBODY} --clear-groups bash -ec "$1"`;
  const command = `naiad() { ${process.execPath} ${resolve(NAIAD)} "$@"; }; ${script}`;
  const args = ['--mount', 'bash', '-c', `${device} && ${user}`, 'bash', command];
  return runTool('unshare', args, { env: { ...home.env, HOME: dir }, okay });
}

test('an ordinary user mounts, reads and unmounts with the driver fuse', { ...needs }, async () => {
  const copy = join(dir, 'copy');
  const { stdout } = await asNobody(`exec 3>&1 > /dev/null
    naiad mount --quiet --driver=fuse ${image} ${mountpoint}
    cp ${mountpoint}/file ${copy}; naiad --json status >&3
    naiad umount --quiet ${mountpoint}; naiad daemon stop --quiet`);
  assert.ok(readFileSync(copy).equals(content));
  const [listed] = JSON.parse(stdout) as { mount: { driver: string } }[];
  assert.equal(listed?.mount.driver, 'fuse');
  assert.deepEqual(mountpointsBelow(dir), []);
});

test('the driver erofs tells an ordinary user what it lacks', { ...needs }, async () => {
  const { stderr } = await asNobody(`naiad mount --driver=erofs ${image} ${mountpoint}`, [13]);
  assert.match(stderr, /^error\[DRIVER_UNAVAILABLE\]: .*\nhint: /);
  assert.deepEqual(mountpointsBelow(dir), []);
});
