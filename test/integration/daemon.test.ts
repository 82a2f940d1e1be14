// One process for all mounts: it is started, found, shared, refused twice, stopped, killed, and told about.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAlive } from '../../src/base/process-identity.ts';
import type { DaemonStatus } from '../../src/mount/mount-api.ts';
import type { ListedMount } from '../../src/mount/mounts.ts';
import { convertedFeatures } from '../support/converted-features.ts';
import { driver } from '../support/drivers.ts';
import { fixture } from '../support/fixtures.ts';
import { mountpointsBelow, type NaiadHome, naiadHome, startNaiad } from '../support/naiad.ts';
import { every, fuse, root } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { temporaryDir } from '../support/temporary.ts';
import { until } from '../support/until.ts';

const needs = every(root(), fuse(), fixture('features'));

let scratch: ReturnType<typeof temporaryDir>;
let naiad: NaiadHome;
let image: string;

before(async () => {
  if (needs.skip !== false) return;
  scratch = temporaryDir('daemon');
  naiad = naiadHome(join(scratch.path, 'home'));
  image = await convertedFeatures(scratch.path, naiad);
});
after(() => scratch?.[Symbol.dispose]());
afterEach(async () => {
  if (needs.skip === false) await naiad.run(['daemon', 'stop']);
});

function place(name: string): string {
  const path = join(scratch.path, name);
  mkdirSync(path, { recursive: true });
  return path;
}

const status = () => naiad.json<DaemonStatus>(['daemon', 'status']);

async function get(path: string): Promise<string> {
  const outgoing = request({ socketPath: join(naiad.state, 'daemon.sock'), path }).end();
  const [response] = (await once(outgoing, 'response')) as [AsyncIterable<Buffer>];
  let text = '';
  for await (const piece of response) text += piece.toString();
  return text;
}

test('daemon: several mounts are served by one process, which ends by itself after the last', {
  ...needs,
}, async () => {
  const places = ['one', 'two', 'three'].map(place);
  await Promise.all(places.map((path) => naiad.run(['mount', '--quiet', image, path])));
  const mounts = await naiad.json<ListedMount[]>(['status']);
  assert.equal(new Set(mounts.map(({ mount }) => mount.process.pid)).size, 1);
  const { process, mounts: count, idleSec } = await status();
  assert.deepEqual([process.pid, count, idleSec], [mounts[0]?.mount.process.pid, 3, 1]);
  await naiad.run(['umount', '--all']);
  await until('it ends', () => !isAlive(process));
  await until('so does its keeper', () => readdirSync(naiad.state).sort().join() === 'daemon.log,mounts');
  assert.match((await naiad.run(['daemon', 'status'], { okay: [10] })).stderr, /^error\[DAEMON_MISSING\]/);
});

test('daemon: one that was started by hand stays, and a second one is refused', { ...needs }, async () => {
  const started = await naiad.json<DaemonStatus>(['daemon']);
  assert.equal(started.idleSec, undefined);
  for (const options of [[], ['--foreground']]) {
    const { stderr } = await naiad.run(['daemon', ...options], { okay: [15] });
    assert.match(stderr, new RegExp(`^error\\[DAEMON_RUNNING\\]: process ${started.process.pid} `));
  }
  await sleep(1500);
  assert.equal((await status()).process.pid, started.process.pid);
  await naiad.run(['mount', '--quiet', image, place('one')]);
  await naiad.run(['daemon', 'stop']);
  assert.ok(!isAlive(started.process));
  assert.deepEqual(mountpointsBelow(scratch.path), []);
});

test('daemon: in the foreground it logs to stderr, and a signal unmounts and ends it with 0', {
  ...needs,
}, async () => {
  const child = startNaiad(['daemon', '--foreground', '--log-format', 'json'], naiad.env);
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text;
  });
  const ended = once(child, 'close');
  await once(child.stdout, 'data');
  await naiad.run(['mount', '--quiet', image, place('one')]);
  assert.equal((await status()).process.pid, child.pid);
  // As small as one in the background: with the same options, in the same process.
  assert.match(readFileSync(`/proc/${child.pid}/cmdline`, 'latin1'), /--max-semi-space-size=1\0--expose-gc\0/);
  assert.match(readFileSync(`/proc/${child.pid}/environ`, 'latin1'), /\0UV_THREADPOOL_SIZE=12\0/);
  child.kill('SIGTERM');
  assert.deepEqual(await ended, [0, null]);
  assert.deepEqual(mountpointsBelow(scratch.path), []);
  const lines = log
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { msg: string; level: string });
  const said = lines.map(({ msg }) => msg);
  assert.deepEqual(said, ['serving', 'mounted', 'stopping', 'unmounted', 'stopped']);
  assert.deepEqual(new Set(lines.map(({ level }) => level)), new Set(['info']));
});

/** What a service manager runs. */
function startFollower() {
  const child = startNaiad(['daemon', '--follow'], naiad.env);
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      said[name] += text;
    });
  }
  const ended = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  const standsBy = () => until('it stands by another', () => said.stderr.includes('beside the one that runs'));
  return { child, ended, standsBy, serves: () => until('it serves', () => said.stdout.includes('serves')) };
}

test('daemon: --follow serves or stands by who does, through an upgrade and a crash, and a signal ends both', {
  ...every(needs, driver('fuse')),
}, async () => {
  const mountpoint = place('one');
  const first = startFollower();
  await first.serves();
  await naiad.run(['mount', '--quiet', '--driver', 'fuse', image, mountpoint]);
  await naiad.run(['daemon', 'upgrade']);
  assert.deepEqual(await first.ended, [75, null]);
  const second = startFollower();
  await second.standsBy();
  const { process: upgraded } = await status();
  process.kill(upgraded.pid, 'SIGKILL');
  await until('another one serves', async () => {
    const found = await naiad.find(mountpoint);
    return found !== undefined && found.mount.process.pid !== upgraded.pid;
  });
  assert.ok((await naiad.status(mountpoint)).mount.why.some((line) => line.startsWith('Taken over ')));
  second.child.kill('SIGTERM');
  assert.deepEqual(await second.ended, [0, null]);
  assert.deepEqual(mountpointsBelow(scratch.path), []);
});

test('daemon: --follow ends with the one that it stands by, when that is stopped', { ...needs }, async () => {
  await naiad.run(['daemon']);
  const follower = startFollower();
  await follower.standsBy();
  await naiad.run(['daemon', 'stop']);
  assert.deepEqual(await follower.ended, [0, null]);
});

test('daemon: another one cannot use the same cache while it has mounts in it', { ...needs }, async () => {
  await naiad.run(['mount', '--quiet', image, place('one')]);
  const other = { env: { NAIAD_STATE: join(scratch.path, 'other-state') } };
  const { stderr } = await naiad.run(['mount', image, place('two')], { ...other, okay: [15] });
  assert.match(stderr, /^error\[CACHE_LOCKED\]/);
  await naiad.run(['umount', '--all']);
  await naiad.run(['mount', '--quiet', image, place('two')], other);
  await naiad.run(['daemon', 'stop'], other);
});

test('daemon: after it was killed the next one mounts anew what can be, and says so', { ...needs }, async () => {
  await naiad.run(['mount', '--quiet', '--driver', 'fuse-native', image, place('one')]);
  await naiad.run(['mount', '--quiet', '--driver', 'fuse-native', '--rw', image, place('two')]);
  const { process: first } = await status();
  process.kill(first.pid, 'SIGKILL');
  await until('it is dead', () => !isAlive(first));
  await naiad.run(['daemon']);
  await until('both are served', async () => {
    const mounts = await naiad.json<ListedMount[]>(['status']);
    return mounts.length === 2 && mounts.every(({ state }) => state === 'serving');
  });
  for (const { mount } of await naiad.json<ListedMount[]>(['status'])) {
    assert.ok(
      mount.why.some((line) => line.includes(`(process ${first.pid}) died`)),
      mount.why.join('\n'),
    );
    assert.ok(readdirSync(mount.mountpoint).includes('srv'));
  }
  assert.match(readFileSync(join(naiad.state, 'daemon.log'), 'utf8'), /"level":"warn".*Mounted anew/);
});

test('daemon: with its state directory gone it takes its mounts away and ends', { ...needs }, async () => {
  const home = naiadHome(join(scratch.path, 'short-lived'));
  const started = await home.json<DaemonStatus>(['daemon']);
  rmSync(home.state, { recursive: true });
  await until('it ends', () => !isAlive(started.process));
});

test('daemon: a mount inside another image is served as well', { ...needs }, async () => {
  const outer = place('outer');
  await naiad.run(['mount', '--quiet', '--rw', image, outer]);
  const inner = join(outer, 'inner');
  mkdirSync(inner);
  await naiad.run(['mount', '--quiet', image, inner]);
  assert.ok(readdirSync(inner).includes('srv'));
  await runTool('bash', ['-c', `cat ${inner}/srv/all/sizes/* > /dev/null`]);
  await naiad.run(['umount', '--all']);
  assert.deepEqual(mountpointsBelow(scratch.path), []);
});

test('daemon: metrics count what was read and fetched', { ...needs }, async () => {
  const home = place('one');
  // Else the rest would be brought in the background once half of the image was read.
  const options = ['--quiet', '--prefetch', 'none', '--cache', join(scratch.path, 'fresh-cache')];
  await naiad.run(['mount', ...options, image, home]);
  await runTool('bash', ['-c', `cat ${home}/srv/all/sizes/* > /dev/null`]);
  let text = '';
  const value = (name: string) => Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(text)?.[1]);
  await until('its last answer is at its end', async () => {
    text = await get('/metrics');
    return value('naiad_registry_requests_in_flight') === 0;
  });
  assert.equal(value('naiad_mounts'), 1);
  for (const name of ['image_bytes', 'cached_bytes', 'reads_total', 'read_bytes_total']) {
    assert.ok(value(`naiad_mount_${name}`) > 0, name);
  }
  assert.equal(
    value('naiad_mount_reads_total'),
    value('naiad_mount_cache_hits_total') + value('naiad_mount_stalls_total'),
  );
  assert.equal(value('naiad_stall_seconds_count'), value('naiad_mount_stalls_total'));
  assert.ok(value('naiad_mount_stall_seconds_total') > 0);
  const kind = (name: string, of: string) =>
    Number(
      new RegExp(`^naiad_registry_fetched_${name}_total\\{registry="local",kind="${of}"\\} (\\S+)$`, 'm').exec(
        text,
      )?.[1],
    );
  for (const name of ['requests', 'bytes', 'units', 'unit_wait_seconds']) assert.ok(kind(name, 'demand') > 0, name);
  assert.equal(kind('bytes', 'background'), 0);
  assert.equal(value('naiad_registry_retries_total'), 0);
  assert.match(text, /^naiad_fetch_seconds_bucket\{le="60",outcome="ok"\} \d+$/m);
  assert.ok(value('process_resident_memory_bytes') > 1e7);
});

test('status: says why a mount is not faster, and --watch shows it again with rates', { ...needs }, async () => {
  const mountpoint = place('one');
  const cache = join(scratch.path, 'watched-cache');
  await naiad.run(['mount', '--quiet', '--driver', 'fuse-native', '--cache', cache, image, mountpoint]);
  const first = await naiad.status(mountpoint);
  assert.ok(
    first.slow.some((line) => /are not here yet/.test(line)),
    first.slow.join('\n'),
  );
  assert.ok(first.slow.some((line) => /^(Not driver|Driver) fuse/.test(line)));
  const child = startNaiad(['status', '--watch'], naiad.env);
  let shown = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    shown += text;
  });
  const ended = once(child, 'close');
  await until('it is shown', () => shown.includes(mountpoint));
  await runTool('bash', ['-c', `cat ${mountpoint}/srv/all/sizes/* > /dev/null`]);
  await until('rates are shown', () => / {2}now +\d+ reads/.test(shown));
  child.kill('SIGINT');
  await ended;
});

test('doctor: passes here, fails for an image that is not there, and says so as JSON', { ...needs }, async () => {
  interface Checked {
    readonly name: string;
    readonly status: string;
  }
  const checks = await naiad.json<Checked[]>(['doctor', image]);
  const statusOf = (name: string) => checks.find((check) => check.name === name)?.status;
  for (const name of ['kernel', 'driver fuse-native', 'user', 'image', 'ranges'])
    assert.equal(statusOf(name), 'ok', name);
  const { stdout } = await naiad.run(['doctor', `${image}-missing`], { okay: [1] });
  assert.match(stdout, /^fail +image .*IMAGE_NOT_FOUND/m);
  const { stdout: noCache } = await naiad.run(['doctor', '--cache', join(scratch.path, 'layout/index.json/cache')], {
    okay: [1],
  });
  assert.match(noCache, /^fail +cache .*\n +Name another one/m);
});
