// Mounts outlive their daemon: killed or upgraded, the next one goes on, and whoever reads gets right bytes and no error.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAlive } from '../../src/base/process-identity.ts';
import type { DaemonStatus } from '../../src/mount/mount-api.ts';
import type { ListedMount } from '../../src/mount/mounts.ts';
import { readOwner } from '../../src/store/owner-lock.ts';
import { daemonPaths } from '../../src/store/paths.ts';
import { processOf } from '../support/chaos/chaos.ts';
import { convertedFeatures } from '../support/converted-features.ts';
import { driver as driverNeeds } from '../support/drivers.ts';
import { fixture } from '../support/fixtures.ts';
import { mountpointsBelow, type NaiadHome, naiadHome } from '../support/naiad.ts';
import { every, root } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { temporaryDir } from '../support/temporary.ts';
import { until } from '../support/until.ts';

const ROUNDS = Number(process.env.HANDOVER_ROUNDS ?? 3);
/** Generous, for machines that are busy with other things. */
const STALL_MAX_MS = 60_000;

let scratch: ReturnType<typeof temporaryDir>;
let image: string;

before(async () => {
  if (root().skip !== false) return;
  scratch = temporaryDir('handover');
  const home = naiadHome(join(scratch.path, 'convert'));
  image = await convertedFeatures(scratch.path, home);
});
after(() => scratch?.[Symbol.dispose]());

async function serving(naiad: NaiadHome, mountpoint: string, before: number): Promise<number> {
  const began = Date.now();
  while (Date.now() - began < STALL_MAX_MS) {
    const status = await naiad.find(mountpoint);
    if (status && status.mount.process.pid !== before) return status.mount.process.pid;
    await sleep(20);
  }
  assert.fail(`not taken over within ${STALL_MAX_MS} ms`);
}

/** Lets the successor of `before` begin, and stops it: the moment it is there, or the moment that it has the state directory. */
async function holdSuccessor(naiad: NaiadHome, before: number, when: 'there' | 'owner'): Promise<number> {
  const lock = daemonPaths(naiad.state).lock;
  for (const end = Date.now() + STALL_MAX_MS; Date.now() < end; await sleep(1)) {
    const pid = when === 'there' ? processOf('daemon', naiad.state) : readOwner(lock)?.pid;
    if (pid === undefined || pid === before) continue;
    process.kill(pid, 'SIGSTOP');
    return pid;
  }
  assert.fail('there is no successor');
}

for (const how of ['killed', 'upgraded'] as const) {
  test(`handover: whoever asks for a daemon while a slow one takes over waits for it (${how})`, {
    ...every(root(), driverNeeds('fuse'), fixture('features')),
  }, async () => {
    const directory = join(scratch.path, `slow-${how}`);
    const mountpoint = join(directory, 'mnt');
    mkdirSync(mountpoint, { recursive: true });
    const naiad = naiadHome(directory);
    await naiad.run(['mount', '--quiet', '--driver', 'fuse', image, mountpoint]);
    try {
      const { process: daemon } = await naiad.json<DaemonStatus>(['daemon', 'status']);
      const upgrade = how === 'upgraded' ? naiad.run(['daemon', 'upgrade']) : undefined;
      if (how === 'killed') process.kill(daemon.pid, 'SIGKILL');
      const successor = await holdSuccessor(naiad, daemon.pid, how === 'killed' ? 'there' : 'owner');
      const asked = Promise.all([
        naiad.json<ListedMount[]>(['status']),
        naiad.json<DaemonStatus>(['daemon', 'status']),
        naiad.run(['mount', image, mountpoint], { okay: [15] }),
        upgrade,
      ]);
      await sleep(2500); // Longer than such a machine takes by far.
      process.kill(successor, 'SIGCONT');
      const [listed, status] = await asked;
      assert.deepEqual(
        listed.map(({ state, mount }) => [state, mount.process.pid]),
        [['serving', successor]],
      );
      assert.equal(status.process.pid, successor);
      process.kill(successor, 'SIGKILL');
      const next = await holdSuccessor(naiad, successor, 'there');
      const ended = naiad.run(['umount', mountpoint]);
      await sleep(1000);
      assert.deepEqual(mountpointsBelow(directory), [mountpoint]); // It is the next one's, who is not there yet.
      process.kill(next, 'SIGCONT');
      await ended;
    } finally {
      await naiad.run(['daemon', 'stop']);
    }
    assert.deepEqual(mountpointsBelow(directory), []);
    assert.deepEqual(readdirSync(join(naiad.state, 'mounts')), []);
  });
}

for (const driver of ['erofs', 'fuse'] as const) {
  for (const options of [[], ['--rw']]) {
    const kind = options.length > 0 ? 'writable' : 'read-only';
    for (const how of ['killed', 'upgraded'] as const) {
      const needs = every(root(), driverNeeds(driver), fixture('features'));
      test(`handover: ${kind} ${driver} mount goes on when its daemon is ${how}`, { ...needs }, async () => {
        const directory = join(scratch.path, `${driver}-${kind}-${how}`);
        const mountpoint = join(directory, 'mnt');
        mkdirSync(mountpoint, { recursive: true });
        const naiad = naiadHome(directory);
        await naiad.run(['mount', '--quiet', '--driver', driver, ...options, image, mountpoint]);
        const sum = [
          '-c',
          `set -o pipefail; cd ${mountpoint} && find srv/all -type f -print0 | sort -z | xargs -0 sha256sum`,
        ];
        try {
          // Inside all the time: a mount that is made anew would not do.
          const inside = runTool('bash', ['-c', `cd ${mountpoint}/srv && sleep ${ROUNDS} && ls all > /dev/null`]);
          if (options.length > 0) await runTool('bash', ['-c', `echo kept > ${mountpoint}/written`]);
          const sums: string[][] = [];
          for (let round = 0; round < ROUNDS; round++) {
            const { process: daemon } = await naiad.json<DaemonStatus>(['daemon', 'status']);
            const reading = runTool('bash', sum);
            if (how === 'killed') process.kill(daemon.pid, 'SIGKILL');
            else await naiad.run(['daemon', 'upgrade']);
            sums.push((await reading).stdout.split('\n'));
            await until('it is dead', () => !isAlive(daemon));
            await serving(naiad, mountpoint, daemon.pid);
          }
          await inside;
          const [first = new Set(), ...others] = sums.map((lines) => new Set(lines));
          for (const other of others) {
            assert.deepEqual(
              [...other].filter((line) => !first.has(line)),
              [],
            );
            assert.equal(other.size, first.size);
          }
          const { mount } = await naiad.status(mountpoint);
          assert.ok(
            mount.why.some((line) => line.startsWith('Taken over ')),
            mount.why.join('\n'),
          );
          if (options.length > 0) {
            assert.equal((await runTool('cat', [join(mountpoint, 'written')])).stdout, 'kept\n');
          }
        } finally {
          await naiad.run(['umount', '--all', '--lazy'], { okay: [0, 3] });
          await naiad.run(['daemon', 'stop']);
        }
        assert.deepEqual(mountpointsBelow(directory), []);
        assert.deepEqual(readdirSync(join(naiad.state, 'mounts')), []);
      });
    }
  }
}
