// Troubles of the disk under a mount, with every driver: it fills up and is freed again while files are read, it comes from
// another boot with chunks that are damaged, and many mounts of one image start on it at once.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { FETCH_FLOOR_WINDOW_MS } from '../../src/base/limits.ts';
import { bitmapOffset, bitmapSize, chunkMapHeader } from '../../src/format/cache/chunk-map.ts';
import type { DaemonStatus } from '../../src/mount/mount-api.ts';
import { type BadRegistry, startBadRegistry } from '../support/bad-registry.ts';
import { patterned } from '../support/blobs.ts';
import { DRIVERS, driver } from '../support/drivers.ts';
import { mountpointsBelow, naiadHome } from '../support/naiad.ts';
import { rangeLog, sentTwice } from '../support/range-log.ts';
import { addon, every, program, root } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { temporaryDir } from '../support/temporary.ts';

const FILES = 24;
const FILE_SIZE = 1_000_000;
/** Room for less than half of the files. */
const DISK_SIZE = 24 * 2 ** 20;
const MOUNTS_AT_ONCE = Number(process.env.MOUNTS_AT_ONCE ?? 8);

const needs = every(root(), addon(), program('mke2fs'));
const scratch = temporaryDir('troubles');
const layout = join(scratch.path, 'layout');
const sums: string[] = [];
let registry: BadRegistry;

before(async () => {
  if (needs.skip !== false) return;
  const tree = join(scratch.path, 'tree');
  mkdirSync(tree);
  for (let index = 0; index < FILES; index++) {
    const bytes = patterned(FILE_SIZE, index + 1);
    writeFileSync(join(tree, `${index}`), bytes);
    sums.push(createHash('sha256').update(bytes).digest('hex'));
  }
  await using naiad = naiadHome(join(scratch.path, 'convert'));
  await naiad.run(['convert', '--quiet', `dir:${tree}`, `oci:${layout}:x`]);
  registry = await startBadRegistry(layout);
});
after(async () => {
  await registry?.[Symbol.asyncDispose]();
  scratch[Symbol.dispose]();
});

for (const { name, passesErrnos, resumes } of DRIVERS) {
  describe(name, () => {
    const requirements = every(needs, driver(name));

    test(`${name}: the disk fills up while files are read, then it is freed`, { ...requirements }, async (t) => {
      const dir = join(scratch.path, `${name}-full`);
      await using disk = await smallDisk(dir);
      const mountpoint = join(dir, 'mnt');
      mkdirSync(mountpoint);
      const naiad = naiadHome(dir);
      const ballast = join(disk.path, 'ballast');
      const options = ['--quiet', `--driver=${name}`, `--cache=${join(disk.path, 'cache')}`];
      await using _mounted = await naiad.mount(`docker://${registry.host}/some/image:x`, mountpoint, ...options);
      const start = Date.now();
      // Somebody else's file takes what is left after a few of ours.
      assert.equal(await read(mountpoint, 0), sums[0]);
      fillUp(ballast);
      const results = await Promise.all(sums.map((_, index) => read(mountpoint, index)));
      const right = results.filter((result, index) => result === sums[index]).length;
      const full = results.filter((result) => result === (passesErrnos ? 'ENOSPC' : 'EIO')).length;
      t.diagnostic(
        `${name}: ${right} right, ${full} told that the disk is full of ${FILES} in ${Date.now() - start} ms`,
      );
      assert.equal(right + full, FILES, results.join(' '));
      assert.ok(full > 0, 'the disk never was full');
      assert.equal(results[0], sums[0], 'what was cached stays readable');
      rmSync(ballast);
      await assertAllRight(mountpoint);
    });

    test(`${name}: a cache from another boot, with damaged chunks, is healed`, { ...requirements }, async () => {
      const dir = join(scratch.path, `${name}-boot`);
      const mountpoint = join(dir, 'mnt');
      mkdirSync(mountpoint, { recursive: true });
      const naiad = naiadHome(dir);
      const image = `docker://${registry.host}/some/image:x`;
      {
        await using _mounted = await naiad.mount(image, mountpoint, '--quiet', `--driver=${name}`);
        await assertAllRight(mountpoint);
      }
      await naiad.run(['daemon', 'stop'], { okay: [0, 10] });
      damage(join(naiad.cache, 'blobs'));
      await using _mounted = await naiad.mount(image, mountpoint, '--quiet', `--driver=${name}`);
      await assertAllRight(mountpoint);
    });

    if (resumes) {
      test(`${name}: with its registry down, a killed daemon's mount goes on; what it needs is never pruned`, {
        ...requirements,
      }, async () => {
        const dir = join(scratch.path, `${name}-down`);
        const mountpoint = join(dir, 'mnt');
        mkdirSync(mountpoint, { recursive: true });
        const naiad = naiadHome(dir);
        await using own = await startBadRegistry(layout);
        const image = `docker://${own.host}/some/image:x`;
        await using _mounted = await naiad.mount(image, mountpoint, '--quiet', `--driver=${name}`);
        assert.equal(await read(mountpoint, 0), sums[0]);
        const kept = readdirSync(join(naiad.cache, 'metadata')).length;
        assert.ok(kept >= 3, `${kept} of manifest, config and bootstrap layer`);
        await naiad.run(['cache', 'prune', '--all']);
        assert.equal(readdirSync(join(naiad.cache, 'metadata')).length, kept);
        await own.down();
        const { process: daemon } = await naiad.json<DaemonStatus>(['daemon', 'status']);
        process.kill(daemon.pid, 'SIGKILL');
        assert.equal(await read(mountpoint, 0), sums[0]);
        await own.up();
        assert.equal(await read(mountpoint, FILES - 1), sums[FILES - 1]);
        const { mount } = await naiad.status(mountpoint);
        assert.ok(
          mount.why.some((line) => line.startsWith('Taken over ')),
          mount.why.join(' '),
        );
      });
    }

    test(`${name}: ${MOUNTS_AT_ONCE} mounts at once fetch each chunk once`, { ...requirements }, async () => {
      const dir = join(scratch.path, `${name}-many`);
      const naiad = naiadHome(dir);
      await using log = await rangeLog(registry.host);
      const image = `docker://${log.host}/some/image:x`;
      const places = Array.from({ length: MOUNTS_AT_ONCE }, (_, index) => join(dir, `mnt-${index}`));
      for (const place of places) mkdirSync(place, { recursive: true });
      try {
        const ended = await Promise.allSettled(
          places.map(async (place) => {
            await naiad.run(['mount', '--quiet', `--driver=${name}`, image, place]);
            await assertAllRight(place);
          }),
        );
        for (const each of ended) if (each.status === 'rejected') throw each.reason;
        // On a machine that is slow enough, an answer that seems to stall is asked for once more.
        assert.deepEqual(sentTwice(log.sent, { sizeMax: 0, withinMs: FETCH_FLOOR_WINDOW_MS }), []);
        assert.ok(log.sent.length > 0);
      } finally {
        await naiad.run(['umount', '--all', '--quiet']);
        assert.deepEqual(mountpointsBelow(dir), []);
      }
    });
  });
}

/** The sha256 of a file, or the name of the errno that its reader got. */
async function read(mountpoint: string, index: number): Promise<string> {
  const path = join(mountpoint, `${index}`);
  const { code, stdout, stderr } = await runTool('sha256sum', [path], { okay: [0, 1] });
  if (code === 0) return stdout.slice(0, 64);
  return /No space left/.test(stderr) ? 'ENOSPC' : /Input\/output error/.test(stderr) ? 'EIO' : stderr;
}

/** Reads the files one after the other. */
async function assertAllRight(mountpoint: string): Promise<void> {
  const paths = sums.map((_, index) => join(mountpoint, `${index}`));
  const { stdout } = await runTool('sha256sum', paths);
  assert.deepEqual(
    stdout
      .trim()
      .split('\n')
      .map((line) => line.slice(0, 64)),
    sums,
  );
}

/** An ext4 of its own, small, mounted below `dir`, which is made. */
async function smallDisk(dir: string): Promise<AsyncDisposable & { readonly path: string }> {
  const [image, path] = [join(dir, 'disk.img'), join(dir, 'disk')];
  mkdirSync(path, { recursive: true });
  const file = openSync(image, 'w');
  ftruncateSync(file, DISK_SIZE + 16 * 2 ** 20);
  closeSync(file);
  await runTool('mke2fs', ['-q', '-t', 'ext4', '-m', '0', '-O', '^has_journal', image]);
  await runTool('mount', ['-o', 'loop', image, path]);
  return {
    path,
    async [Symbol.asyncDispose]() {
      await runTool('umount', [path]);
    },
  };
}

function fillUp(path: string): void {
  const file = openSync(path, 'w');
  const piece = Buffer.alloc(2 ** 16, 1);
  try {
    for (;;) writeSync(file, piece);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  } finally {
    closeSync(file);
  }
}

/** Every data file gets wrong bytes here and there; every map says that it was written under another boot and not closed. */
function damage(blobs: string): void {
  let damaged = 0;
  for (const name of readdirSync(blobs)) {
    const path = join(blobs, name);
    const file = openSync(path, 'r+');
    if (name.endsWith('.data')) {
      for (let at = 5000; at < FILES * FILE_SIZE; at += 3_500_000) damaged += writeSync(file, 'damaged', at);
    } else if (name.endsWith('.map')) {
      const map = readFileSync(path);
      const view = new DataView(map.buffer, map.byteOffset, map.length);
      const header = chunkMapHeader.read(view, 0);
      chunkMapHeader.write(view, 0, { ...header, bootId: '00000000-0000-0000-0000-000000000000' });
      const durable = bitmapOffset(header.chunkCount, 'durable');
      map.fill(0, durable, durable + bitmapSize(header.chunkCount));
      writeSync(file, map, 0, map.length, 0);
    }
    closeSync(file);
  }
  assert.ok(damaged > 0);
}
