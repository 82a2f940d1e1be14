// The cache as an operator handles it: listed, pruned, pinned, verified and repaired, with an image mounted and without.
import assert from 'node:assert/strict';
import { closeSync, mkdirSync, openSync, readdirSync, readSync, writeSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { VerifiedBlob } from '../../src/cache/verify.ts';
import type { CacheListing } from '../../src/look/cache-listing.ts';
import type { FillStatus } from '../../src/mount/background-fill.ts';
import type { FillResult } from '../../src/mount/fill-image.ts';
import type { MountStatus } from '../../src/mount/mount-api.ts';
import { convertedFeatures, features } from '../support/converted-features.ts';
import { fixture } from '../support/fixtures.ts';
import { type NaiadHome, naiadHome } from '../support/naiad.ts';
import { addon, every, fuse, root } from '../support/requires.ts';
import { temporaryDir } from '../support/temporary.ts';

const needs = every(root(), fuse(), addon(), fixture('features'));

let scratch: ReturnType<typeof temporaryDir>;
let naiad: NaiadHome;
let image: string;
let mountpoint: string;

before(async () => {
  if (needs.skip !== false) return;
  scratch = temporaryDir('cache');
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

async function readAll(directory: string): Promise<void> {
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) await readFile(join(entry.parentPath, entry.name));
  }
}

/** Changes one byte of each blob's first chunk, behind everyone's back. */
function corrupt(): void {
  const directory = join(naiad.cache, 'blobs');
  for (const name of readdirSync(directory).filter((one) => one.endsWith('.data'))) {
    const fd = openSync(join(directory, name), 'r+');
    const byte = Buffer.alloc(1);
    readSync(fd, byte, 0, 1, 0);
    byte[0] = (byte[0] as number) ^ 1;
    writeSync(fd, byte, 0, 1, 0);
    closeSync(fd);
  }
}

/** How many chunks of all blobs. */
function chunksOf(blobs: readonly VerifiedBlob[], which: 'bad' | 'forgotten' | 'refetched'): number {
  return blobs.reduce((sum, blob) => sum + blob[which].length, 0);
}

const list = () => naiad.json<CacheListing>(['cache', 'ls']);
const verify = async (...options: string[]) =>
  JSON.parse(
    (await naiad.run(['--json', 'cache', 'verify', ...options], { okay: [0, 12] })).stdout,
  ) as readonly VerifiedBlob[];

test('cache: what is mounted is in use, is not pruned, and is repaired without a reader noticing', {
  ...needs,
}, async () => {
  await using _mount = await naiad.mount(image, mountpoint);
  await readAll(mountpoint);
  const { items } = await list();
  const blobs = items.filter(({ kind }) => kind === 'blob');
  assert.ok(blobs.length > 0);
  for (const { inUse, chunks } of blobs) {
    assert.equal(inUse, true);
    assert.ok(chunks && chunks.ready > 0);
  }
  await naiad.run(['cache', 'prune', '--all']);
  assert.deepEqual((await list()).items.filter(({ kind }) => kind === 'blob').length, blobs.length);
  assert.ok((await verify()).every(({ bad, chunks }) => bad.length === 0 && chunks > 0));

  corrupt();
  const found = await verify();
  const wrong = chunksOf(found, 'bad');
  assert.ok(wrong > 0, 'first chunks are in use');
  await naiad.run(['cache', 'verify'], { okay: [12] });
  const repaired = await verify('--repair');
  assert.equal(chunksOf(repaired, 'refetched'), wrong);
  assert.ok((await verify()).every(({ bad }) => bad.length === 0));
});

test('cache: what nobody uses is forgotten by a repair, and fetched again', { ...needs }, async () => {
  {
    await using _mount = await naiad.mount(image, mountpoint);
    await readAll(mountpoint);
  }
  corrupt();
  const repaired = await verify('--repair');
  const forgotten = chunksOf(repaired, 'forgotten');
  assert.ok(forgotten > 0);
  assert.equal(chunksOf(repaired, 'bad'), forgotten);
  assert.ok((await verify()).every(({ bad }) => bad.length === 0));
  await using _mount = await naiad.mount(image, mountpoint);
  await readAll(mountpoint);
  const { counters } = await naiad.status(mountpoint);
  assert.equal(counters.cache.fetchedChunks, forgotten);
});

test('cache: pins keep an image; prune takes the rest', { ...needs }, async () => {
  {
    await using _mount = await naiad.mount(image, mountpoint);
    await readAll(mountpoint);
  }
  const before = (await list()).items.length;
  await naiad.run(['cache', 'pin', image]);
  const { pins } = await list();
  assert.equal(pins.length, 1);
  await naiad.run(['cache', 'prune', '--all']);
  assert.equal((await list()).items.length, before);
  await naiad.run(['cache', 'unpin', image]);
  await naiad.run(['cache', 'unpin', image], { okay: [10] });
  assert.equal(
    (await naiad.json<{ removed: unknown[] }>(['cache', 'prune', '--all', '--dry-run'])).removed.length,
    before,
  );
  assert.equal((await list()).items.length, before);
  await naiad.run(['cache', 'prune', '--all']);
  assert.deepEqual((await list()).items, []);
});

test('cache: pin --fetch brings all of an image, and it stays', { ...needs }, async () => {
  await naiad.run(['cache', 'prune', '--all']);
  const { stdout } = await naiad.run(['cache', 'pin', '--fetch', image]);
  assert.match(stdout, /^pinned .*: \d+ blobs, all [\d.]+ MB here; [\d.]+ MB fetched\n$/);
  const { items } = await list();
  assert.ok(items.length > 0);
  // Chunks that the image does not use stay away.
  assert.ok(items.every(({ pinned, chunks }) => pinned && chunks?.ready !== 0));
  await naiad.run(['cache', 'prune', '--all']);
  const again = await naiad.json<{ fetched: FillResult }>(['cache', 'pin', '--fetch', image]);
  assert.equal(again.fetched.fetchedBytes, 0);
  await using _mount = await naiad.mount(image, mountpoint);
  await readAll(mountpoint);
  assert.equal((await naiad.status(mountpoint)).counters.backend.bytes, 0);
  await naiad.run(['cache', 'unpin', image]);
  await naiad.run(['cache', 'pin', '--fetch', 'a'.repeat(64)], { okay: [2] });
  await naiad.run(['cache', 'pin', '--fetch', `${image}-not`], { okay: [10] });
});

const cachedBytes = ({ devices }: MountStatus) => devices.reduce((sum, { bytes }) => sum + bytes, 0);

/** The status of the mount once its prefetch is in `state`. */
async function whenPrefetch(state: FillStatus['state']): Promise<MountStatus> {
  for (const end = Date.now() + 60_000; ; await sleep(50)) {
    const status = await naiad.status(mountpoint);
    if (status.prefetch?.state === state) return status;
    assert.ok(Date.now() < end, `${status.prefetch?.state}: ${status.prefetch?.why}`);
  }
}

test('prefetch: all brings the image without a read, none brings nothing', { ...needs }, async () => {
  await naiad.run(['cache', 'prune', '--all']);
  {
    await using _mount = await naiad.mount(image, mountpoint, '--prefetch', 'none');
    assert.equal(cachedBytes(await whenPrefetch('off')), 0);
  }
  await using _mount = await naiad.mount(image, mountpoint, '--prefetch', 'all');
  const { devices } = await whenPrefetch('complete');
  assert.ok(devices.every(({ chunks, bytes, bytesTotal }) => chunks > 0 && bytes === bytesTotal));
});

test('prefetch: by itself it brings what the image lists, then all once half of it was read', {
  ...needs,
}, async () => {
  await naiad.run(['cache', 'prune', '--all']);
  const listing = `oci:${join(scratch.path, 'listing')}:x`;
  const listed = 'srv/all/sizes/1048577';
  await naiad.run(['convert', '--quiet', '--prefetch', `/${listed}`, features(), listing]);
  await using _mount = await naiad.mount(listing, mountpoint);
  const status = await whenPrefetch('watching');
  const bytes = cachedBytes(status);
  assert.ok(bytes > 1_048_576 && bytes < status.devices.reduce((sum, { bytesTotal }) => sum + bytesTotal, 0));
  assert.equal(status.counters.reads, 0);
  await readAll(mountpoint);
  await whenPrefetch('complete');
});

test('cache: wrong options and layouts are refused', { ...needs }, async () => {
  await naiad.run(['cache', 'prune', '--size', 'much'], { okay: [2] });
  await naiad.run(['mount', '--fetch-deadline', 'soon', image, mountpoint], { okay: [2] });
  const foreign = { env: { NAIAD_CACHE_SIZE: 'lots' } };
  await naiad.run(['cache', 'ls'], { okay: [2], ...foreign });
  await naiad.run(['mount', image, mountpoint], { okay: [2], ...foreign });
});
