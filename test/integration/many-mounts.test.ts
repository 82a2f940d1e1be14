// What one daemon takes for its mounts: memory with one of them under load and with a hundred, and no byte of an image that
// fifty containers start from at once is fetched twice.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { FETCH_FLOOR_WINDOW_MS, FETCH_GAP_MAX } from '../../src/base/limits.ts';
import { MiB } from '../../src/base/units.ts';
import { callDaemon, type MountStatus } from '../../src/mount/mount-api.ts';
import { type RegistryServer, startRegistry } from '../../src/registry-server/start.ts';
import { driver } from '../support/drivers.ts';
import { type NaiadHome, naiadHome } from '../support/naiad.ts';
import { rangeLog, sentTwice } from '../support/range-log.ts';
import { addon, every, program, root } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { makeShellImage, shellImage } from '../support/shell-image.ts';
import { temporaryDir } from '../support/temporary.ts';

const needs = every(root(), addon(), driver('fuse'), shellImage());
/** Incompressible files of one chunk each: what is sent of one is about a chunk, and no gap between others. */
const FILES = 40;
const MOUNTS = 100;
const CONTAINERS = 50;
/** So many of them are containers in full; the others are mounts that are read. */
const CONTAINERS_RUN = 4;
const READ_ALL = 'cat data/* > /dev/null';

let scratch: ReturnType<typeof temporaryDir>;
let registry: RegistryServer;
let layout: string;

before(async () => {
  if (needs.skip !== false) return;
  scratch = temporaryDir('many');
  registry = await startRegistry({ root: join(scratch.path, 'registry'), host: '127.0.0.1', port: 0 });
  const shell = (await makeShellImage(scratch.path)).replace(/^oci:/, '');
  const data = join(scratch.path, 'data');
  mkdirSync(data);
  for (let file = 0; file < FILES; file++) writeFileSync(join(data, `${file}`), randomBytes(1 * MiB));
  await runTool('umoci', ['insert', '--image', shell, data, '/data']);
  layout = `oci:${shell}`;
  await naiadHome(join(scratch.path, 'convert')).run(['convert', '--quiet', layout, `${registry.host}/app:1`]);
});
after(async () => {
  if (needs.skip !== false) return;
  await registry.close();
  scratch[Symbol.dispose]();
});

interface Mounts {
  readonly name: string;
  readonly driver: string;
  readonly host: string;
  readonly count: number;
  readonly prefetch?: 'none' | 'auto';
}

/** A home of its own with `count` mounts of the image, made through the API: a command for each would be half of the test. */
async function withMounts(
  { name, driver, host, count, prefetch = 'none' }: Mounts,
  use: (home: NaiadHome, mountpoints: readonly string[]) => Promise<void>,
): Promise<void> {
  const home = naiadHome(join(scratch.path, name));
  const mountpoints = Array.from({ length: count }, (_, index) => join(scratch.path, `${name}-${index}`));
  for (const mountpoint of mountpoints) mkdirSync(mountpoint);
  await home.run(['daemon', '--idle', '60']);
  try {
    const body = { image: `docker://${host}/app:1`, driver, prefetch };
    const mounts = mountpoints.map((mountpoint) => {
      const call = { method: 'POST', path: '/v1/mounts', body: { ...body, mountpoint } } as const;
      return callDaemon<MountStatus>(join(home.state, 'daemon.sock'), call);
    });
    await Promise.all(mounts);
    await use(home, mountpoints);
  } finally {
    await home.run(['daemon', 'stop']);
  }
}

/** Of the daemon, in MiB: now, and at most since it started. */
async function memoryOf(home: NaiadHome): Promise<{ now: number; most: number }> {
  const { process: owner } = await home.json<{ process: { pid: number } }>(['daemon', 'status']);
  const text = readFileSync(`/proc/${owner.pid}/status`, 'latin1');
  const of = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1]) / 1024;
  return { now: of('VmRSS'), most: of('VmHWM') };
}

for (const name of ['erofs', 'fuse'] as const) {
  test(`memory: one mount of ${name}, read by several at once, takes no more than 100 MiB`, {
    ...every(needs, driver(name)),
  }, async (t) => {
    await withMounts({ name: `one-${name}`, driver: name, host: registry.host, count: 1 }, async (home, [place]) => {
      const readers = Array.from({ length: 4 }, () => runTool('bash', ['-c', READ_ALL], { cwd: place as string }));
      await Promise.all(readers);
      const { now, most } = await memoryOf(home);
      t.diagnostic(`${name}: ${now.toFixed(0)} MiB, ${most.toFixed(0)} at most`);
      // Usually 75 to 85: what is garbage by now depends on when it is collected.
      assert.ok(now <= 100, `${now} MiB`);
      assert.ok(most <= 120, `${most} MiB at most`);
    });
  });
}

test('memory: a hundred mounts that are read take no more than 200 MiB', { ...needs }, async (t) => {
  await withMounts({ name: 'hundred', driver: 'fuse', host: registry.host, count: MOUNTS }, async (home, places) => {
    for (const place of places) await runTool('bash', ['-c', 'cat data/1* > /dev/null'], { cwd: place });
    const { now, most } = await memoryOf(home);
    t.diagnostic(`${now.toFixed(0)} MiB, ${most.toFixed(0)} at most`);
    assert.ok(now <= 200 && most <= 220, `${now} MiB, ${most} at most`);
  });
});

test('twenty mounts of one image at once look it up, and fetch what is needed to mount it, once', {
  ...needs,
}, async () => {
  await using log = await rangeLog(registry.host);
  await withMounts(
    { name: 'twenty', driver: 'fuse', host: log.host, count: 20, prefetch: 'auto' },
    async (home, places) => {
      await runTool('bash', ['-c', 'test -s data/1'], { cwd: places.at(-1) as string });
      const metadata = log.paths.filter((path) => !log.sent.some(({ blob }) => path.endsWith(blob)));
      assert.deepEqual(metadata.toSorted(), [...new Set(metadata)].toSorted());
      assert.ok(metadata.length >= 3, String(metadata));
      // The next one asks anew: the tag may name another image by now.
      const asked = log.paths.length;
      const mountpoint = join(scratch.path, 'later');
      mkdirSync(mountpoint);
      await using _later = await home.mount(`${log.host}/app:1`, mountpoint);
      assert.ok(log.paths.slice(asked).some((path) => path.endsWith('/manifests/1')));
    },
  );
});

for (const name of ['erofs', 'fuse'] as const) {
  test(`fifty containers of one image at once fetch each chunk once, with ${name}`, {
    ...every(needs, driver(name), program('runc')),
  }, async () => {
    await using log = await rangeLog(registry.host);
    const count = CONTAINERS - CONTAINERS_RUN;
    await withMounts({ name: `fifty-${name}`, driver: name, host: log.host, count }, async (home, places) => {
      const script = 'cat /data/* > /data.copy && echo fine';
      const options = ['--runtime', 'runc', '--driver', name, '-u', '0'];
      const containers = Array.from({ length: CONTAINERS_RUN }, () =>
        home.run(['run', ...options, `${log.host}/app:1`, script]),
      );
      // By one shell: the registry is in this process, which would not answer while it starts so many.
      const all = 'for place; do (cd "$place" && cat data/* > /dev/null) & done; wait';
      const readers = runTool('bash', ['-c', all, 'bash', ...places]);
      for (const { stdout } of await Promise.all(containers)) assert.equal(stdout, 'fine\n');
      assert.equal((await readers).stderr, '');
      const { devices, counters } = await home.status(places[0] as string);
      const chunks = devices.reduce((sum, device) => sum + device.chunks, 0);
      assert.ok(chunks >= FILES);
      assert.equal(counters.cache.fetchedChunks, chunks);
    });
    // Small neighbours may be passed over on the way from one wanted chunk to the next; and on a machine that is slow enough, an
    // answer that seems to stall is asked for once more.
    assert.deepEqual(sentTwice(log.sent, { sizeMax: FETCH_GAP_MAX, withinMs: FETCH_FLOOR_WINDOW_MS }), []);
    assert.ok(log.sent.length > 0);
  });
}
