// A keeper that is there and does not answer, or not in our words: what readers get, and what commands say, in bounded time.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { KEEPER_VERSION } from '../../src/format/keeper/records.ts';
import { askKeeper } from '../../src/keeper/attached.ts';
import { Keeper } from '../../src/keeper/keeper.ts';
import type { DaemonStatus } from '../../src/mount/mount-api.ts';
import type { ListedMount } from '../../src/mount/mounts.ts';
import { driver } from '../support/drivers.ts';
import { mountpointsBelow, type NaiadHome, naiadHome } from '../support/naiad.ts';
import { every, program } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { makeShellImage, shellImage } from '../support/shell-image.ts';
import { stopKeeper } from '../support/stop-keeper.ts';
import { temporaryDir } from '../support/temporary.ts';
import { until } from '../support/until.ts';

const needs = every(driver('erofs'), shellImage());
/** Asked every 2 s, given 5 s for an answer and one to die; the rest is for a machine that is busy. */
const REPLACED_WITHIN_SEC = 100;
/** Any command, for the same reasons. */
const SAID_WITHIN_MS = 100_000;

let scratch: ReturnType<typeof temporaryDir>;
let home: NaiadHome;
let mountpoint: string;
let image: string;

before(async () => {
  if (needs.skip !== false) return;
  scratch = temporaryDir('keeper-hangs');
  home = naiadHome(join(scratch.path, 'home'));
  mountpoint = join(scratch.path, 'mnt');
  mkdirSync(mountpoint);
  image = `oci:${join(scratch.path, 'converted')}:shell`;
  await home.run(['convert', '--quiet', '--chunk-size', '65536', await makeShellImage(scratch.path), image]);
});
after(() => scratch?.[Symbol.dispose]());

async function keeperOf(): Promise<number> {
  const { keeper } = await home.json<DaemonStatus>(['daemon', 'status']);
  assert.ok(keeper, 'there is a keeper');
  return keeper.pid;
}

/** The end of a file that nothing has read, in a process of its own. */
function readLarge(): Promise<string> {
  return runTool('bash', ['-c', `sha256sum < ${join(mountpoint, 'srv/large')}`]).then(({ stdout }) => stdout);
}

test('a keeper that hangs is replaced, and readers get the right bytes', { ...needs }, async () => {
  await home.run(['mount', '--quiet', '--driver', 'erofs', '--prefetch', 'none', image, mountpoint]);
  const hung = await keeperOf();
  process.kill(hung, 'SIGSTOP');
  const reading = readLarge();
  const status = await home.json<DaemonStatus>(['daemon', 'status']);
  assert.ok(status.keeper?.pid !== hung || status.keeper.hangs, 'it is told, or over');
  await until('another keeper serves', async () => (await keeperOf()) !== hung, {
    everyMs: 500,
    withinSec: REPLACED_WITHIN_SEC,
  });
  await home.run(['unpack', '--quiet', image, join(scratch.path, 'unpacked')]);
  const expected = await runTool('bash', ['-c', `sha256sum < ${join(scratch.path, 'unpacked/srv/large')}`]);
  assert.equal(await reading, expected.stdout);
  // One that hangs when it is to let go of a mount is replaced as well.
  process.kill(await keeperOf(), 'SIGSTOP');
  await home.run(['umount', mountpoint], { timeoutMs: SAID_WITHIN_MS });
  assert.deepEqual(mountpointsBelow(scratch.path), []);
  await home.run(['daemon', 'stop'], { okay: [0, 10], timeoutMs: SAID_WITHIN_MS });
});

test('a keeper that hangs without a daemon: every command says so, and all goes on with it', { ...needs }, async () => {
  const cache = { NAIAD_CACHE: join(scratch.path, 'empty-cache') };
  const run = (args: readonly string[], okay = [0]) => home.run(args, { env: cache, okay, timeoutMs: SAID_WITHIN_MS });
  await run(['mount', '--quiet', '--driver', 'erofs', '--prefetch', 'none', image, mountpoint]);
  const { process: daemon, keeper } = await home.json<DaemonStatus>(['daemon', 'status']);
  const pid = keeper?.pid as number;
  process.kill(pid, 'SIGSTOP');
  process.kill(daemon.pid, 'SIGKILL');
  const reading = readLarge();
  const says = new RegExp(`KEEPER_HUNG.*keeper \\(process ${pid}\\) does not answer`, 's');
  const [umount, stop, doctor, status] = await Promise.all([
    run(['umount', mountpoint], [1]),
    run(['daemon', 'stop'], [1]),
    run(['doctor'], [0, 1, 3]),
    home.run(['--json', 'status'], { env: cache, okay: [0, 3], timeoutMs: SAID_WITHIN_MS }),
  ]);
  assert.match(umount.stderr, says);
  assert.match(stop.stderr, says);
  assert.match(doctor.stdout, new RegExp(`process ${pid}\\) does not answer`));
  const [listed] = JSON.parse(status.stdout) as ListedMount[];
  assert.equal(listed?.state, 'hung');
  process.kill(pid, 'SIGCONT');
  await reading; // By the daemon that it starts.
  await run(['umount', mountpoint]);
  await run(['daemon', 'stop'], [0, 10]);
});

/** A keeper as another version of naiad would have it: ours, with another number. */
async function foreignKeeper(directory: string): Promise<string> {
  const built = join(directory, 'naiad-keeper');
  const sources = readdirSync('native/src/keeper').filter((name) => name.endsWith('.cc'));
  const files = sources.map((name) => join('native/src/keeper', name));
  const version = `-DNAIAD_KEEPER_VERSION=${KEEPER_VERSION + 1}`;
  await runTool('c++', ['-std=c++20', '-O0', '-Inative/src', version, ...files, '-o', built]);
  return built;
}

test('a keeper of another version is refused at once, and it says so', {
  ...every(needs, program('c++')),
}, async () => {
  const socketPath = join(home.state, 'keeper.sock');
  // A daemon of that version, for all that can be seen of it, which is to be replaced by one of ours.
  const { process: daemon } = await home.json<DaemonStatus>(['daemon']);
  const keeper = spawn(await foreignKeeper(scratch.path), ['--socket', socketPath], { stdio: 'ignore' });
  try {
    await until('it listens', async () => (await askKeeper(socketPath)) !== undefined);
    const upgrade = await home.run(['daemon', 'upgrade'], { okay: [13] });
    assert.match(upgrade.stderr, /KEEPER_VERSION.*\n.*must be unmounted first/);
    assert.equal((await home.json<DaemonStatus>(['daemon', 'status'])).process.pid, daemon.pid, 'it goes on');
    await home.run(['daemon', 'stop']);
    const began = performance.now();
    await assert.rejects(Keeper.start({ socketPath }), { code: 'KEEPER_VERSION' });
    assert.ok(performance.now() - began < 9000, 'without waiting for it to change');
    const { stdout } = await home.run(['doctor'], { okay: [0, 1, 3] });
    assert.match(stdout, /speaks version 2, not 1/);
    const { stderr } = await home.run(['mount', '--driver', 'erofs', image, mountpoint], { okay: [13] });
    assert.match(stderr, new RegExp(`KEEPER_VERSION.*process ${keeper.pid}`, 's'));
    assert.match(readFileSync(join(home.state, 'daemon.log'), 'utf8'), /KEEPER_VERSION|speaks version 2/);
  } finally {
    await stopKeeper(socketPath);
  }
});
