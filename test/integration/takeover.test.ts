// A FUSE mount outlives the process that serves it: another one that has the descriptors goes on, and whoever waits gets
// the right bytes. And the native driver as an ordinary user has it.
import assert from 'node:assert/strict';
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { on, once } from 'node:events';
import { chmodSync, chownSync, cpSync, mkdirSync } from 'node:fs';
import { release } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { fuseDriver } from '../../src/mount/fuse-driver.ts';
import { unmount } from '../../src/mount/unmount.ts';
import { closeDescriptors, receiveDescriptors, socketPair } from '../../src/native/descriptors.ts';
import { convertedFeatures } from '../support/converted-features.ts';
import { fixture } from '../support/fixtures.ts';
import { openImageFs } from '../support/image-fs.ts';
import { mountpointsBelow, NAIAD, naiadHome } from '../support/naiad.ts';
import { addon, every, fuse, program, requirement, root } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { temporaryDir } from '../support/temporary.ts';

const needs = every(root(), fuse(), addon(), fixture('features'));
const resend = requirement('resend', () => {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  return major * 1000 + minor >= 6009 ? undefined : `Linux ${release()} does not send requests again, 6.9 does`;
});
const FILES = ['sizes', 'holes'];

let scratch: ReturnType<typeof temporaryDir>;
let image: string;

before(async () => {
  if (needs.skip !== false) return;
  scratch = temporaryDir('takeover');
  await using naiad = naiadHome(join(scratch.path, 'home'));
  image = await convertedFeatures(scratch.path, naiad);
});
after(async () => {
  if (needs.skip !== false) return;
  for (const left of mountpointsBelow(scratch.path)) await runTool('umount', ['-l', left]);
  scratch[Symbol.dispose]();
});

/** Sums of the files below some directories of a mount, by a process of its own. */
function sumsOf(mountpoint: string): Promise<string> {
  const script = `cd ${mountpoint}/srv/all && find ${FILES.join(' ')} -type f -print0 2>/dev/null | sort -z | xargs -0 -P8 -n1 sha256sum | sort`;
  return runTool('bash', ['-c', script]).then(({ stdout }) => stdout);
}

/** Waits for one message after another. All are kept from the start: several that arrive together are one turn of the event loop. */
function messagesOf(child: ChildProcess): (wanted: string) => Promise<void> {
  const messages = on(child, 'message', { close: ['exit'] });
  return async (wanted) => {
    while (true) {
      const { value, done } = await messages.next();
      if (done) throw new Error(`the server never said ${wanted}`);
      if (value[0] === wanted) return;
    }
  };
}

for (const { how, name } of [
  { how: 'kill', name: 'is killed' },
  { how: 'release', name: 'lets go' },
] as const) {
  test(`takeover: readers that wait while their server ${name} get their bytes from another`, {
    ...every(needs, resend),
  }, async () => {
    const place = join(scratch.path, how);
    const [mountpoint, cache] = [join(place, 'mnt'), join(place, 'cache')];
    mkdirSync(mountpoint, { recursive: true });
    const [near, far] = socketPair();
    const server = fork(join(import.meta.dirname, '../support/fuse-server.js'), [image, cache, mountpoint], {
      stdio: ['ignore', 'inherit', 'inherit', far, 'ipc'],
    });
    const said = messagesOf(server);
    await said('mounted');
    const { bytes, descriptors } = await receiveDescriptors(near, { sizeMax: 1024, timeoutMs: 60_000 });
    closeDescriptors([near, far]);
    const missed = said('miss');
    const waiting = sumsOf(mountpoint);
    await missed;
    if (how === 'release') {
      server.send('release');
      await said('released');
    }
    const exited = once(server, 'exit');
    server.kill('SIGKILL');
    await exited;

    await using opened = await openImageFs(image, cache);
    await using mounted = await fuseDriver.resume?.(
      opened.fs,
      mountpoint,
      { descriptors, state: bytes.toString() },
      opened.place,
    );
    const sums = await waiting;
    assert.ok(sums.split('\n').length > 5, sums);
    // The same as by a mount of its own, and again, now that all is cached.
    assert.equal(await sumsOf(mountpoint), sums);
    assert.equal(opened.fs.counters.errors, 0);
    await unmount(mountpoint);
    await mounted?.ended;
    const fresh = join(place, 'fresh');
    mkdirSync(fresh);
    await using reference = await openImageFs(image, join(place, 'other-cache'));
    await using _own = await fuseDriver.mount(reference.fs, fresh, reference.place);
    assert.equal(await sumsOf(fresh), sums);
    await unmount(fresh);
  });
}

test('takeover: a reader that is killed while it waits is gone at once', { ...needs }, async () => {
  const place = join(scratch.path, 'dying');
  mkdirSync(place);
  await using opened = await openImageFs(image, join(place, 'cache'), (_range, signal) => {
    return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)));
  });
  const mountpoint = join(place, 'mnt');
  mkdirSync(mountpoint);
  await using mounted = await fuseDriver.mount(opened.fs, mountpoint, opened.place);
  const reader = spawn('bash', ['-c', `cat ${mountpoint}/srv/all/sizes/* > /dev/null`], { detached: true });
  const exited = once(reader, 'exit');
  while (opened.fs.counters.waits === 0) await new Promise((done) => setTimeout(done, 5));
  process.kill(-(reader.pid as number), 'SIGKILL');
  await exited;
  await unmount(mountpoint, { lazy: true });
  await mounted.ended;
});

test('an ordinary user mounts through fusermount3, and sees what root sees', {
  ...every(needs, program('fusermount3'), program('setpriv'), program('unshare')),
}, async () => {
  const place = join(scratch.path, 'user');
  const mountpoint = join(place, 'mnt');
  for (const directory of [place, mountpoint]) mkdirSync(directory);
  cpSync(join(scratch.path, 'layout'), join(place, 'layout'), { recursive: true });
  await runTool('chown', ['-R', '65534:65534', place]);
  chmodSync(scratch.path, 0o755);
  chownSync(place, 65534, 65534);
  // A device node that users may open, as udev makes it, in a mount namespace of its own.
  const node = join(scratch.path, 'fuse');
  await runTool('mknod', ['-m', '666', node, 'c', '10', '229']);
  const asUser = 'setpriv --reuid=65534 --regid=65534 --clear-groups -- bash -c "$0"';
  const naiad = `${process.execPath} ${resolve(NAIAD)}`;
  const script = `set -e
    ${naiad} mount --driver=fuse --quiet oci:${place}/layout:x ${mountpoint} > /dev/null
    stat -f -c %T ${mountpoint}; find ${mountpoint} | wc -l
    find ${mountpoint}/srv/all/sizes -type f -print0 | sort -z | xargs -0 cat | sha256sum
    ${naiad} umount ${mountpoint}; ${naiad} daemon stop >/dev/null 2>&1 || true`;
  const env = { ...process.env, HOME: place, NAIAD_STATE: join(place, 'state'), NAIAD_CACHE: join(place, 'cache') };
  const { stdout } = await runTool(
    'unshare',
    ['-m', 'bash', '-c', `mount --bind ${node} /dev/fuse && ${asUser}`, script],
    { env },
  );
  const [type, count, sum] = stdout.split('\n');
  assert.match(type ?? '', /fuse/);
  assert.ok(Number(count) > 100, count);
  await using opened = await openImageFs(image, join(scratch.path, 'root-cache'));
  const own = join(scratch.path, 'root-mnt');
  mkdirSync(own);
  await using _mounted = await fuseDriver.mount(opened.fs, own, opened.place);
  const all = `find ${own}/srv/all/sizes -type f -print0 | sort -z | xargs -0 cat | sha256sum`;
  assert.equal((await runTool('bash', ['-c', all])).stdout.trim(), sum);
  await unmount(own);
  assert.deepEqual(mountpointsBelow(scratch.path), []);
});
