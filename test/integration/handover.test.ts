// Mounts outlive their daemon: killed or upgraded, the next one goes on, and whoever reads gets right bytes and no error.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAlive } from '../../src/base/process-identity.ts';
import type { DaemonStatus } from '../../src/mount/mount-api.ts';
import type { ListedMount } from '../../src/mount/mounts.ts';
import { driver as driverNeeds } from '../support/drivers.ts';
import { fixture, fixturePath } from '../support/fixtures.ts';
import { mountpointsBelow, type NaiadHome, naiadHome } from '../support/naiad.ts';
import { every, root } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { temporaryDir } from '../support/temporary.ts';

const ROUNDS = Number(process.env.HANDOVER_ROUNDS ?? 3);
const STALL_MAX_MS = 10_000;

let scratch: ReturnType<typeof temporaryDir>;
let image: string;

before(async () => {
  if (root().skip !== false) return;
  scratch = temporaryDir('handover');
  image = `oci:${join(scratch.path, 'layout')}:x`;
  const home = naiadHome(join(scratch.path, 'convert'));
  await home.run(['convert', '--quiet', `oci:${resolve(fixturePath('features'))}:latest`, image]);
});
after(() => scratch?.[Symbol.dispose]());

async function serving(naiad: NaiadHome, mountpoint: string, before: number): Promise<number> {
  const began = Date.now();
  while (Date.now() - began < STALL_MAX_MS) {
    const listed = (await naiad.json<ListedMount[]>(['status'])).find(({ mount }) => mount.mountpoint === mountpoint);
    if (listed?.state === 'serving' && listed.mount.process.pid !== before) return listed.mount.process.pid;
    await sleep(50);
  }
  assert.fail(`not taken over within ${STALL_MAX_MS} ms`);
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
          `cd ${mountpoint} && find srv/all -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum`,
        ];
        try {
          // Inside all the time: a mount that is made anew would not do.
          const inside = runTool('bash', ['-c', `cd ${mountpoint}/srv && sleep ${ROUNDS} && ls all > /dev/null`]);
          if (options.length > 0) await runTool('bash', ['-c', `echo kept > ${mountpoint}/written`]);
          const sums: string[] = [];
          for (let round = 0; round < ROUNDS; round++) {
            const { process: daemon } = await naiad.json<DaemonStatus>(['daemon', 'status']);
            const reading = runTool('bash', sum);
            if (how === 'killed') process.kill(daemon.pid, 'SIGKILL');
            else await naiad.run(['daemon', 'upgrade']);
            sums.push((await reading).stdout);
            assert.ok(!isAlive(daemon));
            await serving(naiad, mountpoint, daemon.pid);
          }
          await inside;
          assert.equal(new Set(sums).size, 1);
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
