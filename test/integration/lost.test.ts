// When more is gone than a daemon: its registry, so that a mount cannot be taken over yet, or its keeper in the same instant.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { DaemonStatus } from '../../src/mount/mount-api.ts';
import type { ListedMount } from '../../src/mount/mounts.ts';
import { type BadRegistry, startBadRegistry } from '../support/bad-registry.ts';
import { patterned } from '../support/blobs.ts';
import { processOf } from '../support/chaos/chaos.ts';
import { driver } from '../support/drivers.ts';
import { mountpointsBelow, type NaiadHome, naiadHome } from '../support/naiad.ts';
import { addon, every, root } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { temporaryDir } from '../support/temporary.ts';
import { until as untilHolds } from '../support/until.ts';

const until = (what: string, holds: () => boolean | Promise<boolean>) => untilHolds(what, holds, { everyMs: 50 });

const needs = every(root(), addon());
const SIZE = 3_000_000;
const scratch = temporaryDir('lost');
let registry: BadRegistry;

before(async () => {
  if (needs.skip !== false) return;
  const tree = join(scratch.path, 'tree');
  mkdirSync(tree);
  for (const [seed, name] of ['here', 'missing', 'other'].entries())
    writeFileSync(join(tree, name), patterned(SIZE, seed));
  const layout = join(scratch.path, 'layout');
  await using naiad = naiadHome(join(scratch.path, 'convert'));
  await naiad.run(['convert', '--quiet', '--chunk-size=65536', `dir:${tree}`, `oci:${layout}:x`]);
  registry = await startBadRegistry(layout);
});
after(async () => {
  await registry?.[Symbol.asyncDispose]();
  scratch[Symbol.dispose]();
});

/** True when a file, which the kernel is made to forget first, has the bytes of the tree. */
async function isRight(mountpoint: string, name: string): Promise<boolean> {
  await runTool('dd', [`if=${join(mountpoint, name)}`, 'iflag=nocache', 'count=0', 'status=none']);
  return (
    (await runTool('cmp', [join(mountpoint, name), join(scratch.path, 'tree', name)], { okay: [0, 1] })).code === 0
  );
}

function kill(naiad: NaiadHome, ...names: ('daemon' | 'keeper')[]): void {
  const pids = names.map((name) => processOf(name, naiad.state) ?? assert.fail(`no ${name}`));
  // Stopped first: neither is to see the other one die, and start it again.
  for (const signal of ['SIGSTOP', 'SIGKILL'] as const) for (const pid of pids) process.kill(pid, signal);
}

async function listed(naiad: NaiadHome): Promise<ListedMount> {
  const [mount] = await naiad.json<ListedMount[]>(['status']);
  return mount ?? assert.fail('nothing is mounted');
}

/** Mounts without prefetch, with one file in the cache. */
async function withMount(name: 'erofs' | 'fuse', use: (naiad: NaiadHome, mountpoint: string) => Promise<void>) {
  const directory = join(scratch.path, `${name}-${mountCount++}`);
  const mountpoint = join(directory, 'mnt');
  mkdirSync(mountpoint, { recursive: true });
  const naiad = naiadHome(directory);
  const image = `docker://${registry.host}/some/image:x`;
  await naiad.run(['mount', '--quiet', '--driver', name, '--prefetch', 'none', image, mountpoint]);
  try {
    assert.ok(await isRight(mountpoint, 'here'));
    await use(naiad, mountpoint);
  } finally {
    await naiad.run(['umount', '--all', '--lazy'], { okay: [0, 3] });
    await naiad.run(['daemon', 'stop']);
    assert.deepEqual(mountpointsBelow(directory), []);
  }
}
let mountCount = 0;

for (const name of ['erofs', 'fuse'] as const) {
  test(`lost: a ${name} mount whose image cannot be opened when it is taken over waits for that`, {
    ...every(needs, driver(name)),
  }, async () => {
    await withMount(name, async (naiad, mountpoint) => {
      await registry.down();
      try {
        rmSync(join(naiad.cache, 'metadata'), { recursive: true });
        kill(naiad, 'daemon');
        await until('status says what it waits for', async () => {
          const { state, mount } = await listed(naiad);
          return state === 'starting' && /cannot be opened, which is tried again/.test(mount.resuming ?? '');
        });
        assert.equal((await naiad.json<DaemonStatus>(['daemon', 'status'])).resuming, 1);
        if (name === 'erofs') assert.ok(await isRight(mountpoint, 'here'));
      } finally {
        await registry.up();
      }
      assert.ok(await isRight(mountpoint, 'missing'));
      await until('it is served', async () => (await listed(naiad)).state === 'serving');
      assert.ok((await naiad.status(mountpoint)).mount.why.some((line) => line.startsWith('Taken over ')));
    });
  });

  test(`lost: daemon and keeper of a ${name} mount killed at once: the next daemon says so and mounts anew`, {
    ...every(needs, driver(name)),
  }, async () => {
    await withMount(name, async (naiad, mountpoint) => {
      kill(naiad, 'keeper', 'daemon');
      await until('both are dead', () => !processOf('daemon', naiad.state) && !processOf('keeper', naiad.state));
      const dead = await listed(naiad);
      assert.equal(dead.state, 'dead');
      await naiad.run(['daemon']);
      await until('it is mounted anew', async () => (await listed(naiad)).state === 'serving');
      const { mount } = await naiad.status(mountpoint);
      assert.ok(
        mount.why.some((line) => /^Mounted anew: .* so did its keeper: .* must be started again/.test(line)),
        mount.why.join('\n'),
      );
      assert.match(readFileSync(join(naiad.state, 'daemon.log'), 'utf8'), /"level":"fatal".*"code":"MOUNT_LOST"/);
      for (const file of ['here', 'missing']) assert.ok(await isRight(mountpoint, file), file);
    });
  });
}
