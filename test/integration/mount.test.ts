// The life of a mount: read-write and kept writes, ended by its command, by umount(8), by signals, lazily; its server
// killed; several at once. Whatever happens, the next command finds its way, and nothing stays.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join, resolve } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { isAlive, type ProcessIdentity, startTimeOf } from '../../src/base/process-identity.ts';
import { chooseDriver } from '../../src/mount/drivers.ts';
import { type ApiCall, callDaemon, type MountStatus } from '../../src/mount/mount-api.ts';
import type { ListedMount } from '../../src/mount/mounts.ts';
import { convertedFeatures } from '../support/converted-features.ts';
import { fixture } from '../support/fixtures.ts';
import { mountpointsBelow, NAIAD, type NaiadHome, naiadHome, startNaiad, TEST_DRIVER } from '../support/naiad.ts';
import { addon, every, fuse, root } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { temporaryDir } from '../support/temporary.ts';
import { until } from '../support/until.ts';

const needs = every(root(), fuse(), addon(), fixture('features'));

let scratch: ReturnType<typeof temporaryDir>;
let naiad: NaiadHome;
let image: string;
let mountpoint: string;

before(async () => {
  if (needs.skip !== false) return;
  scratch = temporaryDir('mount');
  naiad = naiadHome(join(scratch.path, 'home'));
  mountpoint = join(scratch.path, 'mnt');
  mkdirSync(mountpoint);
  image = await convertedFeatures(scratch.path, naiad);
});
after(async () => {
  if (needs.skip !== false) return;
  await naiad.run(['umount', '--all', '--lazy']);
  scratch[Symbol.dispose]();
});

// One failure must not make the others fail.
afterEach(async () => {
  if (needs.skip !== false) return;
  if (readdirSync(join(naiad.state, 'mounts')).length > 0)
    await naiad.run(['umount', '--all', '--lazy'], { okay: [0, 3] });
  for (const left of mountpointsBelow(scratch.path)) await runTool('umount', ['-l', left]);
});

async function serverOf(directory: string): Promise<ProcessIdentity> {
  return (await naiad.status(directory)).mount.process;
}

async function assertNothingLeft(server?: ProcessIdentity): Promise<void> {
  assert.deepEqual(mountpointsBelow(scratch.path), []);
  assert.deepEqual(readdirSync(join(naiad.state, 'mounts')), []);
  if (server) await until('its process ends', () => !isAlive(server));
  const written = join(naiad.cache, 'rw');
  if (existsSync(written)) assert.deepEqual(readdirSync(written), []);
}

test('mount: a writable one takes every kind of change and forgets it', { ...needs }, async () => {
  const script = `set -e; cd ${mountpoint}
    echo new > new; cat new; rm -rf srv/all/xattrs; mkdir srv/all/xattrs; ls -A srv/all/xattrs | wc -l
    first=$(ls -d srv/all/* | head -1); mv "$first" moved; stat -c %F moved > /dev/null; chmod 700 .; stat -c %a .`;
  await naiad.run(['mount', '--quiet', '--rw', image, mountpoint]);
  const server = await serverOf(mountpoint);
  const { stdout } = await runTool('bash', ['-c', script]);
  assert.equal(stdout, 'new\n0\n700\n');
  await naiad.run(['umount', mountpoint]);
  await assertNothingLeft(server);
  await naiad.run(['mount', '--quiet', '--rw', image, mountpoint]);
  await assert.rejects(readFile(join(mountpoint, 'new')), { code: 'ENOENT' });
  await naiad.run(['umount', mountpoint]);
  await assertNothingLeft();
});

test('mount: the root of a writable one looks like the root of the image', { ...needs }, async () => {
  const seen: string[] = [];
  for (const options of [[], ['--rw']]) {
    await naiad.run(['mount', '--quiet', ...options, image, mountpoint]);
    seen.push((await runTool('stat', ['-c', '%a %u %g %Y', mountpoint])).stdout);
    await naiad.run(['umount', mountpoint]);
  }
  assert.equal(seen[0], seen[1]);
});

test('mount: --upper keeps what was written, also over a path with commas and colons', { ...needs }, async () => {
  const upper = join(scratch.path, 'kept, really: yes');
  await naiad.run(['mount', '--quiet', '--rw', '--upper', upper, image, mountpoint]);
  await writeFile(join(mountpoint, 'kept'), 'kept');
  await naiad.run(['umount', mountpoint]);
  assert.equal(readFileSync(join(upper, 'upper/kept'), 'utf8'), 'kept');
  await naiad.run(['mount', '--quiet', '--rw', '--upper', upper, image, mountpoint]);
  assert.equal(await readFile(join(mountpoint, 'kept'), 'utf8'), 'kept');
  await rm(join(mountpoint, 'kept'));
  await naiad.run(['umount', mountpoint]);
  await assertNothingLeft();
});

test('mount: --upper without --rw is refused', { ...needs }, async () => {
  const { stderr } = await naiad.run(['mount', '--upper', '/x', image, mountpoint], { okay: [2] });
  assert.match(stderr, /^error\[USAGE\].*\n/);
});

test('mount: relative paths mean what they mean where the command runs', { ...needs }, async () => {
  const line = [process.execPath, resolve(NAIAD), 'mount', '--quiet', 'oci:layout:x', 'mnt'];
  await runTool(line[0] as string, line.slice(1), { cwd: scratch.path, env: naiad.env });
  // Blobs are opened when they are first read, by a process that is in / by then.
  await runTool('bash', ['-c', `cat ${mountpoint}/srv/all/sizes/* > /dev/null`]);
  assert.equal((await naiad.status(mountpoint)).counters.errors, 0);
  await naiad.run(['umount', mountpoint]);
  await assertNothingLeft();
});

for (const { kind, options } of [
  { kind: 'a read-only', options: ['--driver=fuse'] },
  { kind: 'a writable', options: ['--driver=fuse', '--rw'] },
  { kind: 'a portable', options: ['--driver=fuse-native'] },
  { kind: 'a portable writable', options: ['--driver=fuse-native', '--rw'] },
]) {
  test(`mount: umount(8) of ${kind} one ends its process too`, { ...needs }, async () => {
    await naiad.run(['mount', '--quiet', ...options, image, mountpoint]);
    const server = await serverOf(mountpoint);
    await runTool('umount', [mountpoint]);
    await until('its process ends', () => !isAlive(server));
    await assertNothingLeft(server);
  });

  test(`mount: SIGTERM to the daemon of ${kind} one unmounts it`, { ...needs }, async () => {
    await naiad.run(['mount', '--quiet', ...options, image, mountpoint]);
    const server = await serverOf(mountpoint);
    process.kill(server.pid, 'SIGTERM');
    await until('its process ends', () => !isAlive(server));
    await assertNothingLeft(server);
  });

  test(`mount: umount --lazy of ${kind} one serves who is still in it`, { ...needs }, async () => {
    await naiad.run(['mount', '--quiet', ...options, image, mountpoint]);
    const server = await serverOf(mountpoint);
    const arrived = join(scratch.path, 'arrived');
    const script = `cd ${mountpoint}/srv; echo in; echo > ${arrived}; read go; ls all > /dev/null && cat all/sizes/* | wc -c`;
    const go = join(scratch.path, 'go');
    const inside = runTool('bash', ['-c', `${script} < <(until [ -e ${go} ]; do sleep 0.05; done; echo go)`]);
    await until('it is inside', () => existsSync(arrived));
    rmSync(arrived);
    const { stderr } = await naiad.run(['umount', mountpoint], { okay: [15] });
    assert.match(stderr, /is busy: process \d+ \(bash\)/);
    await naiad.run(['umount', '--lazy', mountpoint]);
    assert.deepEqual(mountpointsBelow(scratch.path), []);
    assert.deepEqual(await naiad.json<ListedMount[]>(['status']), []);
    writeFileSync(go, '');
    const [first, bytes] = (await inside).stdout.split('\n');
    assert.equal(first, 'in');
    assert.ok(Number(bytes) > 0);
    rmSync(go);
    await assertNothingLeft(server);
  });
}

// Mounts of the other drivers are taken over instead (see handover.test.ts).
for (const { kind, options } of [
  { kind: 'a portable', options: ['--driver=fuse-native'] },
  { kind: 'a portable writable', options: ['--driver=fuse-native', '--rw'] },
]) {
  test(`mount: ${kind} one whose process was killed is seen, unmounted, and mounted over`, { ...needs }, async () => {
    const kill = async () => {
      await naiad.run(['mount', '--quiet', ...options, image, mountpoint]);
      const server = await serverOf(mountpoint);
      process.kill(server.pid, 'SIGKILL');
      await until('it is dead', () => !isAlive(server));
    };
    await kill();
    const [listed] = await naiad.json<ListedMount[]>(['status']);
    assert.equal(listed?.state, 'dead');
    assert.match((await naiad.run(['status'])).stdout, /hint +.*naiad umount /);
    await naiad.run(['umount', mountpoint]);
    await assertNothingLeft();
    await kill();
    await naiad.run(['mount', '--quiet', ...options, image, mountpoint]);
    assert.ok((await runTool('ls', [mountpoint])).stdout.includes('srv'));
    await naiad.run(['umount', mountpoint]);
    await assertNothingLeft();
  });
}

test('mount: --foreground serves until it is asked to stop, and then ends with 0', { ...needs }, async () => {
  const child = startNaiad(['mount', '--foreground', image, mountpoint], naiad.env);
  const exited = once(child, 'exit');
  await once(child.stdout, 'data');
  assert.equal((await naiad.status(mountpoint)).mount.mountpoint, mountpoint);
  child.kill('SIGINT');
  assert.deepEqual(await exited, [0, null]);
  await assertNothingLeft();
});

test('mount: an interrupted start leaves nothing, and the error of the serving process is the command’s', {
  ...needs,
}, async () => {
  // A registry that never answers.
  const silent = createServer(() => undefined).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as { port: number };
  const child = startNaiad(['mount', `127.0.0.1:${port}/x:y`, mountpoint], naiad.env);
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  await once(silent, 'request');
  child.kill('SIGINT');
  const [code] = (await once(child, 'close')) as [number];
  assert.equal(code, 130, errors);
  assert.match(errors, /^error\[CANCELED\]/);
  silent.closeAllConnections();
  silent.close();
  await assertNothingLeft();
});

test('mount: of two commands for one mountpoint one gets it', { ...needs }, async () => {
  const tries = await Promise.all([1, 2, 3].map(() => naiad.run(['mount', image, mountpoint], { okay: [0, 15] })));
  assert.deepEqual(tries.map(({ code }) => code).sort(), [0, 15, 15]);
  for (const { code, stderr } of tries) if (code === 15) assert.match(stderr, /^error\[MOUNTPOINT_BUSY\]/);
  await naiad.run(['umount', mountpoint]);
  await assertNothingLeft();
});

test('mount: several of one image at once fetch into one cache; --all ends them', { ...needs }, async () => {
  const home = naiadHome(join(scratch.path, 'several'));
  const places = [1, 2, 3].map((number) => join(scratch.path, `place-${number}`));
  for (const place of places) mkdirSync(place);
  try {
    await Promise.all(places.map((place) => home.run(['mount', '--quiet', image, place])));
    const sums = await Promise.all(
      places.map((place) => runTool('bash', ['-c', `cd ${place} && cat srv/all/sizes/* | sha256sum`])),
    );
    assert.equal(new Set(sums.map(({ stdout }) => stdout)).size, 1);
    const blobs = readdirSync(join(home.cache, 'blobs'));
    assert.deepEqual(
      blobs.filter((name) => !/^[0-9a-f]{64}\.(data|map)$/.test(name)),
      [],
    );
    // Now everything that was read is there for whoever comes next.
    await home.run(['umount', '--all']);
    await home.run(['mount', '--quiet', image, places[0] as string]);
    await runTool('bash', ['-c', `cat ${places[0]}/srv/all/sizes/* > /dev/null`]);
    assert.equal((await home.status(places[0] as string)).counters.backend.bytes, 0);
  } finally {
    await home.run(['umount', '--all', '--lazy']);
    for (const place of places) rmSync(place, { recursive: true });
  }
  assert.deepEqual(mountpointsBelow(scratch.path), []);
});

test('mount: a state directory may be a symlink, and deeper than a socket’s path may be', { ...needs }, async () => {
  const deep = join(scratch.path, 'd'.repeat(120));
  mkdirSync(deep);
  const { env } = naiad;
  for (const state of [deep, join(scratch.path, 'link')]) {
    if (state !== deep) await runTool('ln', ['-s', deep, state]);
    const options = { env: { ...env, NAIAD_STATE: state } };
    await naiad.run(['mount', '--quiet', '--rw', image, mountpoint], options);
    assert.match((await naiad.run(['status'], options)).stdout, /serving/);
    await naiad.run(['umount', mountpoint], options);
    assert.deepEqual(mountpointsBelow(scratch.path), []);
  }
});

test('mount: the API of the daemon answers, and refuses what it does not know', { ...needs }, async () => {
  await using _mounted = await naiad.mount(image, mountpoint);
  const { mount } = await naiad.status(mountpoint);
  const socket = join(naiad.state, 'daemon.sock');
  const call = { timeoutMs: 60_000 } as const;
  const status = await callDaemon<MountStatus>(socket, { ...call, method: 'GET', path: `/v1/mounts/${mount.id}` });
  const expected = TEST_DRIVER === 'auto' ? chooseDriver('auto', naiad.cache).driver.name : TEST_DRIVER;
  assert.equal(status?.mount.driver, expected);
  assert.ok(status.mount.why.length > 0);
  assert.match(status.mount.manifestDigest ?? '', /^sha256:[0-9a-f]{64}$/);
  const refused: readonly [ApiCall, string][] = [
    [{ ...call, method: 'GET', path: '/v2/mounts' }, 'USAGE'],
    [{ ...call, method: 'GET', path: '/v1/mounts/nothing' }, 'NOT_MOUNTED'],
    [{ ...call, method: 'POST', path: '/v1/mounts', body: { image } }, 'USAGE'],
    [{ ...call, method: 'POST', path: '/v1/mounts', body: { image, mountpoint: 'relative' } }, 'USAGE'],
  ];
  for (const [wrong, code] of refused) await assert.rejects(callDaemon(socket, wrong), { code }, wrong.path);
  assert.equal(await callDaemon(join(naiad.state, 'none.sock'), refused[0]?.[0] as ApiCall), undefined);
});

test('mount: a damaged chunk is EIO, told by status, and right again once the blob is', { ...needs }, async () => {
  const copy = join(scratch.path, 'damaged');
  cpSync(join(scratch.path, 'layout'), copy, { recursive: true });
  const home = naiadHome(join(scratch.path, 'damaged-home'));
  const { layers } = JSON.parse((await home.run(['inspect', '--json', `oci:${copy}:x`])).stdout) as {
    layers: { digest: string; size: number }[];
  };
  const largest = layers.slice(0, -1).sort((a, b) => b.size - a.size)[0];
  const blob = join(copy, 'blobs', largest?.digest.replace(':', '/') ?? '');
  const whole = readFileSync(blob);
  const bytes = Buffer.from(whole);
  bytes[100] = (bytes[100] as number) ^ 1; // Of the first chunk.
  writeFileSync(blob, bytes);
  try {
    await home.run(['mount', '--quiet', `oci:${copy}:x`, mountpoint]);
    const readAll = ['-c', `find ${mountpoint} -type f -print0 | xargs -0 cat 2>&1 > /dev/null | sort | uniq -c`];
    const first = await runTool('bash', readAll);
    assert.match(first.stdout, /Input\/output error/);
    const { counters } = await home.status(mountpoint);
    assert.ok(counters.errors > 0);
    assert.match(counters.lastError ?? '', /^CHUNK_(DIGEST_MISMATCH|INVALID): /);
    writeFileSync(blob, whole);
    // A chunk that came wrong twice is left alone for a moment.
    const isRight = async () => (await runTool('bash', readAll)).stdout === '';
    await until('it is right again', isRight, { everyMs: 500 });
  } finally {
    await home.run(['umount', '--all']);
  }
  assert.deepEqual(mountpointsBelow(scratch.path), []);
});

test('mount: of a process that hangs, status and umount say so and how to go on', { ...needs }, async () => {
  await naiad.run(['mount', '--quiet', image, mountpoint]);
  const { pid } = await serverOf(mountpoint);
  process.kill(pid, 'SIGSTOP');
  try {
    const [listed] = await naiad.json<ListedMount[]>(['status']);
    assert.equal(listed?.state, 'hung');
    const { stderr } = await naiad.run(['umount', mountpoint], { okay: [1] });
    assert.match(stderr, /does not answer\nhint: kill -9 \d+; naiad umount /);
  } finally {
    process.kill(pid, 'SIGKILL');
  }
  await until('it is dead', () => startTimeOf(pid) === undefined);
  await naiad.run(['umount', mountpoint]);
  await assertNothingLeft();
});

test('mount: mounted over by somebody else, umount says so and touches nothing', { ...needs }, async () => {
  writeFileSync(join(scratch.path, 'plain'), '');
  const { stderr } = await naiad.run(['umount', mountpoint], { okay: [10] });
  assert.match(stderr, /^error\[NOT_MOUNTED\]: no image is mounted on .*\nhint: naiad status/);
  await runTool('mount', ['-t', 'tmpfs', 'none', mountpoint]);
  try {
    await naiad.run(['umount', mountpoint], { okay: [10] });
    assert.deepEqual(mountpointsBelow(scratch.path), [mountpoint]);
    assert.match((await naiad.run(['mount', image, mountpoint], { okay: [15] })).stderr, /none \(tmpfs\)/);
  } finally {
    await runTool('umount', [mountpoint]);
  }
});
