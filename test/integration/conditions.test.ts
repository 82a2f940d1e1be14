// What a machine can be like when a command runs: each ends in one clear line, a hint where something can be done, and the
// exit code of its kind. Whatever changes the machine happens in a mount namespace of its own.
import assert from 'node:assert/strict';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { features } from '../support/converted-features.ts';
import { fixture, fixturePath } from '../support/fixtures.ts';
import { mountpointsBelow, NAIAD, naiadHome } from '../support/naiad.ts';
import { every, fuse, program, type Requirement, root } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { temporaryDir } from '../support/temporary.ts';

const needs = every(root(), program('unshare'), program('setpriv'), fixture('features'));

const scratch = temporaryDir('conditions');
const dir = scratch.path;
const naiad = naiadHome(join(dir, 'home'));
const image = `oci:${join(dir, 'layout')}:x`;
const mountpoint = join(dir, 'mnt');

before(async () => {
  if (needs.skip !== false) return;
  for (const name of ['mnt', 'full', 'closed', 'tmp']) mkdirSync(join(dir, name));
  writeFileSync(join(dir, 'file'), '');
  chmodSync(dir, 0o755);
  chmodSync(join(dir, 'closed'), 0o700);
  await naiad.run(['convert', '--quiet', features(), image]);
  damagedLayout('flipped', (layer) => {
    const bytes = readFileSync(layer);
    const middle = bytes.length >> 1;
    bytes[middle] = (bytes[middle] as number) ^ 1;
    writeFileSync(layer, bytes);
  });
  damagedLayout('cut', (layer) => truncateSync(layer, statSync(layer).size - 1000));
});
after(() => scratch[Symbol.dispose]());

/** A copy of the ordinary image with its largest blob damaged. */
function damagedLayout(name: string, damage: (layer: string) => void): void {
  const copy = join(dir, name);
  cpSync(fixturePath('features'), copy, { recursive: true });
  const blobs = join(copy, 'blobs', 'sha256');
  // Of the tag `latest`: its first layer is the one that is gzip and large.
  const gzip = readdirSync(blobs)
    .map((blob) => join(blobs, blob))
    .filter((path) => readFileSync(path).readUInt16BE(0) === 0x1f8b);
  const [largest] = gzip.sort((a, b) => statSync(b).size - statSync(a).size);
  damage(largest ?? '');
}

interface Condition {
  readonly name: string;
  /** Shell around the command, which it gets as "$@". */
  readonly shell?: string;
  readonly args: () => readonly string[];
  readonly exit: number;
  readonly error: RegExp;
  readonly hint?: RegExp;
  readonly needs?: Requirement;
}

const FULL = `mount -t tmpfs -o size=3m tmpfs ${dir}/full`;
const NO_FUSE = 'mount -t tmpfs tmpfs /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/urandom c 1 9';
const NOBODY = 'setpriv --reuid=65534 --regid=65534 --clear-groups';

const CONDITIONS: readonly Condition[] = [
  {
    name: 'a mountpoint that is not there',
    args: () => ['mount', image, join(dir, 'nowhere')],
    exit: 2,
    error: /^error\[MOUNTPOINT_INVALID\]: mountpoint .*nowhere does not exist$/,
    hint: /^hint: mkdir -p /,
  },
  {
    name: 'a mountpoint that is a file',
    args: () => ['mount', image, join(dir, 'file')],
    exit: 2,
    error: /^error\[MOUNTPOINT_INVALID\]: mountpoint .*file is no directory/,
  },
  {
    name: 'a mountpoint with files in it',
    args: () => ['mount', image, dir],
    exit: 2,
    error: /^error\[MOUNTPOINT_INVALID\]: .* is not empty$/,
    hint: /^hint: Mount on an empty directory/,
  },
  {
    name: 'an image that is an ordinary one',
    args: () => ['mount', features(), mountpoint],
    exit: 13,
    error: /^error\[NOT_CONVERTED\]: .*: this is an ordinary image$/,
    hint: /^hint: Convert it first: naiad convert oci:/,
  },
  {
    name: 'a tag that is not in the layout',
    args: () => ['mount', image.replace(/x$/, 'y'), mountpoint],
    exit: 10,
    error: /^error\[IMAGE_NOT_FOUND\]: .* no image "y"; it has: x$/,
    hint: /^hint: /,
  },
  {
    name: 'no /dev/fuse, at a mount',
    shell: `${NO_FUSE} && exec "$@"`,
    args: () => ['mount', '--driver', 'fuse-native', image, mountpoint],
    exit: 13,
    error: /^error\[DRIVER_UNAVAILABLE\]: .*\/dev\/fuse/,
    hint: /^hint: .*modprobe fuse/,
  },
  {
    name: 'no /dev/fuse, at a run',
    shell: `${NO_FUSE} && exec "$@"`,
    args: () => ['run', '--driver', 'fuse-native', image, '/bin/true'],
    exit: 13,
    error: /^error\[DRIVER_UNAVAILABLE\]: .*\/dev\/fuse/,
    hint: /^hint: /,
    needs: program('runc'),
  },
  {
    name: 'neither runc nor crun',
    shell: `PATH=/nonexistent exec "$@"`,
    args: () => ['run', image, '/bin/true'],
    exit: 13,
    error: /^error\[RUNTIME_MISSING\]: /,
    hint: /^hint: /,
  },
  {
    name: 'a state directory of someone else',
    shell: `${NOBODY} "$@"`,
    args: () => ['mount', image, mountpoint],
    exit: 11,
    error: /^error\[PERMISSION\]: .*state.*: permission denied/,
    hint: /^hint: .*NAIAD_STATE/,
  },
  {
    name: 'a target directory that may not be written',
    shell: `${NOBODY} "$@"`,
    args: () => ['convert', '--quiet', features(), `oci:${dir}/closed/x:y`],
    exit: 11,
    error: /^error\[PERMISSION\]: .*closed/,
  },
  {
    name: 'a full disk under the target',
    shell: `${FULL} && exec "$@"`,
    args: () => ['convert', '--quiet', features(), `oci:${dir}/full/x:y`],
    exit: 16,
    error: /^error\[NO_SPACE\]: /,
    hint: /^hint: /,
  },
  {
    name: 'a full disk under what is unpacked',
    shell: `${FULL} && exec "$@"`,
    args: () => ['unpack', '--quiet', image, `${dir}/full/x`],
    exit: 16,
    error: /^error\[NO_SPACE\]: /,
    hint: /^hint: .*incomplete/,
  },
  {
    name: 'a full disk under the cache, from before the mount',
    shell: `mount -t tmpfs -o size=64k tmpfs ${dir}/full && export NAIAD_CACHE=${dir}/full/cache && dd if=/dev/zero of=${dir}/full/x 2>/dev/null; exec "$@"`,
    args: () => ['mount', image, mountpoint],
    exit: 16,
    error: /^error\[NO_SPACE\]: .*full/,
    hint: /^hint: .*cache/,
  },
  {
    name: 'a layer with a flipped bit',
    args: () => ['convert', '--quiet', `oci:${dir}/flipped:latest`, `oci:${dir}/never:x`],
    exit: 12,
    error: /^error\[(DIGEST_MISMATCH|ARCHIVE_INVALID)\]: /,
  },
  {
    name: 'a layer cut short',
    args: () => ['convert', '--quiet', `oci:${dir}/cut:latest`, `oci:${dir}/never:x`],
    exit: 12,
    error: /^error\[(SIZE_MISMATCH|ARCHIVE_INVALID)\]: /,
  },
  {
    name: 'an option that takes no such value',
    args: () => ['convert', '--chunk-size=5000', features(), `oci:${dir}/never:x`],
    exit: 2,
    error: /^error\[USAGE\]: .*5000.*power of two/,
  },
  {
    name: 'a transport that cannot be written',
    args: () => ['convert', features(), `docker-archive:${dir}/never.tar`],
    exit: 2,
    error: /^error\[REFERENCE_INVALID\]: .*docker-archive/,
    hint: /^hint: Targets are /,
  },
];

for (const { name, shell, args, exit, error, hint, needs: more } of CONDITIONS) {
  test(`${name}: exit code ${exit}, one line and what to do`, {
    ...every(needs, fuse(), more ?? { skip: false }),
  }, async () => {
    const command = [process.execPath, resolve(NAIAD), ...args()];
    const env = { ...naiad.env, TMPDIR: join(dir, 'tmp') };
    const options = { env, okay: [exit] };
    const { stdout, stderr } = shell
      ? await runTool('unshare', ['--mount', 'bash', '-c', shell, 'bash', ...command], options)
      : await runTool(command[0] as string, command.slice(1), options);
    const [first = '', second = ''] = stderr.split('\n');
    assert.equal(stdout, '');
    assert.match(first, error);
    if (hint) assert.match(second, hint);
    assert.doesNotMatch(stderr, /^ +at /m, 'no stack');
    assert.deepEqual(mountpointsBelow(dir), []);
    assert.deepEqual(readdirSync(join(dir, 'tmp')), []);
  });
}

test('a mountpoint that is taken, and one that is in use', { ...every(needs, fuse()) }, async () => {
  await using _mounted = await naiad.mount(image, mountpoint);
  const again = await naiad.run(['mount', image, mountpoint], { okay: [15] });
  assert.match(again.stderr, /^error\[MOUNTPOINT_BUSY\]: .* is mounted there already\nhint: naiad umount /);
  const inside = await runTool(
    'bash',
    ['-c', `cd ${mountpoint}/srv && ${process.execPath} ${resolve(NAIAD)} umount ${mountpoint}; exit $?`],
    {
      env: naiad.env,
      okay: [15],
    },
  );
  assert.match(inside.stderr, /^error\[MOUNTPOINT_BUSY\]: .* is busy: .*bash.*\nhint: .*--lazy/);
});

test('a disk that fills up under a mount: the reader gets ENOSPC, status says so, and nothing hangs', {
  ...every(needs, fuse()),
}, async () => {
  const script = `${FULL} && export NAIAD_CACHE=${dir}/full/cache
    naiad() { ${process.execPath} ${resolve(NAIAD)} "$@"; }
    naiad mount --quiet ${image} ${mountpoint} && cat ${mountpoint}/srv/all/sizes/* > /dev/null
    naiad status && naiad umount --quiet ${mountpoint}`;
  const { stdout, stderr } = await runTool('unshare', ['--mount', 'bash', '-c', script], { env: naiad.env });
  assert.match(stderr, /dup-a: No space left on device/);
  assert.match(stdout, /errors .*NO_SPACE: .*full/);
});
