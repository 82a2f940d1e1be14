// A mount of the erofs driver from its first event to none, and what it leaves behind: nothing.
import assert from 'node:assert/strict';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { convertedFeatures } from '../support/converted-features.ts';
import { driver } from '../support/drivers.ts';
import { fixture } from '../support/fixtures.ts';
import { mountpointsBelow, type NaiadHome, naiadHome } from '../support/naiad.ts';
import { every } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { temporaryDir } from '../support/temporary.ts';
import { until } from '../support/until.ts';

const needs = every(driver('erofs'), fixture('features'));
const READ_ALL = 'find . -type f -print0 | sort -z | xargs -0 cat | sha256sum';

let scratch: ReturnType<typeof temporaryDir>;
let image: string;
let expected: string;

before(async () => {
  if (needs.skip !== false) return;
  scratch = temporaryDir('erofs');
  const home = naiadHome(join(scratch.path, 'convert'));
  image = await convertedFeatures(scratch.path, home);
  await home.run(['unpack', '--quiet', image, join(scratch.path, 'unpacked')]);
  expected = (await runTool('bash', ['-c', READ_ALL], { cwd: join(scratch.path, 'unpacked') })).stdout;
});
after(() => {
  if (needs.skip !== false) return;
  scratch[Symbol.dispose]();
});

/** Processes whose program is a keeper and whose arguments name a place of `home`. */
function keepersOf(home: NaiadHome): number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => {
    try {
      const arguments_ = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      return /keeper/.test(readlinkSync(`/proc/${pid}/exe`)) && arguments_.includes(home.state);
    } catch {
      return false;
    }
  });
}

/** A mount in a home of its own; when it ends, so must everything. */
async function withMount(name: string, use: (home: NaiadHome, mountpoint: string) => Promise<void>): Promise<void> {
  const home = naiadHome(join(scratch.path, name));
  const mountpoint = join(scratch.path, `${name}-mnt`);
  mkdirSync(mountpoint);
  await home.run(['mount', '--quiet', '--driver', 'erofs', image, mountpoint]);
  try {
    await use(home, mountpoint);
  } finally {
    await home.run(['umount', '--all', '--lazy']);
  }
  assert.deepEqual(mountpointsBelow(mountpoint), []);
  await home.run(['daemon', 'stop'], { okay: [0, 10] });
  await until('the keeper ends', () => keepersOf(home).length === 0);
}

test('erofs: once all was read, no event is left, and a second mount has none from the start', {
  ...needs,
}, async () => {
  await withMount('complete', async (home, mountpoint) => {
    const why = async () => (await home.status(mountpoint)).mount.why.join(' ');
    assert.match(await why(), /raise events: \d of \d devices are not complete/);
    assert.equal((await runTool('bash', ['-c', READ_ALL], { cwd: mountpoint })).stdout, expected);
    const { counters, devices } = await home.status(mountpoint);
    assert.ok(counters.waits > 0 && counters.errors === 0);
    if (devices.every(({ chunks, chunksTotal }) => chunks === chunksTotal)) {
      await until('no event is left', async () => /without any event/.test(await why()));
    }
    await home.run(['umount', mountpoint]);
    await home.run(['daemon', 'stop']);
    await until('the keeper ends', () => keepersOf(home).length === 0);
    await home.run(['mount', '--quiet', '--driver', 'erofs', image, mountpoint]);
    assert.equal((await runTool('bash', ['-c', READ_ALL], { cwd: mountpoint })).stdout, expected);
    assert.equal((await home.status(mountpoint)).counters.backend.bytes, 0);
  });
});

test('erofs: a mount that ends late takes no events from the one that has its place', { ...needs }, async () => {
  await withMount('place-taken', async (home, mountpoint) => {
    const held = openSync(join(mountpoint, 'srv'), 'r');
    await home.run(['umount', '--lazy', mountpoint]);
    await home.run(['mount', '--quiet', '--driver', 'erofs', image, mountpoint]);
    closeSync(held);
    // By now the first one is seen to be over, and lets go of its devices.
    await sleep(800);
    const { stdout, stderr } = await runTool('bash', ['-c', READ_ALL], { cwd: mountpoint });
    assert.equal(stdout, expected, stderr);
    assert.ok((await home.status(mountpoint)).counters.waits > 0);
  });
});

test('erofs: the keeper killed again and again, readers get the right bytes', { ...needs }, async () => {
  await withMount('keeper-killed', async (home, mountpoint) => {
    let reading = true;
    const bytes = runTool('bash', ['-c', READ_ALL], { cwd: mountpoint }).finally(() => {
      reading = false;
    });
    let kills = 0;
    for (; reading && kills < 10; await sleep(30)) {
      const [pid] = keepersOf(home);
      if (pid === undefined) continue; // The next one is just being started, or none is needed any more.
      try {
        process.kill(pid, 'SIGKILL');
        kills++;
      } catch (error) {
        // It ended between the look and the strike.
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
      }
    }
    assert.equal((await bytes).stdout, expected);
    assert.ok(kills > 0);
    assert.equal((await home.status(mountpoint)).counters.errors, 0);
  });
});
