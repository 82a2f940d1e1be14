// Traces beside images in registries that list referrers and in those that do not; mounts that fetch first what a trace says;
// and traces that are broken, which change nothing.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openDevices } from '../../src/backend/devices.ts';
import { hasCode } from '../../src/base/errors.ts';
import { formatTrace, parseTraceFile, type Trace } from '../../src/format/trace/trace.ts';
import type { FetchRequest } from '../../src/mount/fetch-request.ts';
import type { MountStatus } from '../../src/mount/mount-api.ts';
import { TraceLookup } from '../../src/mount/trace-source.ts';
import { startRegistry } from '../../src/registry-server/start.ts';
import { listTraces, pullTrace, pushTrace } from '../../src/trace/attached.ts';
import { copyReference } from '../../src/transport/copy.ts';
import { openConvertedImage } from '../../src/transport/image.ts';
import type { ImageSource } from '../../src/transport/transport.ts';
import { type NaiadHome, naiadHome } from '../support/naiad.ts';
import { every, fuse, program, root } from '../support/requires.ts';
import { dockerRegistry, startDockerRegistry } from '../support/servers.ts';
import { noise, smallImage, writeSmallLayout } from '../support/small-image.ts';
import { temporaryDir } from '../support/temporary.ts';

const needs = every(root(), fuse(), program('mount'));
const CHUNK = 4096;

let scratch: ReturnType<typeof temporaryDir>;
let layout: string;
/** Recorded of the image in `layout`: chunks of /b, then one of /a. */
let recorded: string;

/** Three files of noise; `change` makes another image, with /b as it was and something else in /a. */
async function convertInto(home: NaiadHome, target: string, change = ''): Promise<void> {
  const files = { a: noise(20 * CHUNK, `a${change}`), b: noise(3 * CHUNK, 'b'), c: noise(30 * CHUNK, 'c') };
  const image = await smallImage([{ c: files.c }, { b: files.b }, { a: files.a }]);
  const source = join(scratch.path, `source${change}`);
  writeSmallLayout(source, image, 'x');
  await home.run(['convert', '--quiet', '--chunk-size', String(CHUNK), `oci:${source}:x`, target]);
}

before(async () => {
  if (needs.skip !== false) return;
  scratch = temporaryDir('trace-registry');
  const home = naiadHome(join(scratch.path, 'convert'));
  layout = `oci:${join(scratch.path, 'layout')}:x`;
  await convertInto(home, layout);
  recorded = join(scratch.path, 'recorded.trace');
  const mountpoint = join(scratch.path, 'record-mnt');
  mkdirSync(mountpoint);
  // Without read-ahead of the kernel or of ours: reads of 4 KiB at places of their own.
  await home.run(['mount', '--quiet', '--driver', 'fuse', '--trace', recorded, layout, mountpoint]);
  for (const path of ['b', 'a']) readFileSync(join(mountpoint, path));
  await home.run(['umount', mountpoint]);
  const trace = parseTraceFile(readFileSync(recorded));
  const wanted = trace.touches.filter(({ path, offset }) => path === '/b' || (path === '/a' && offset === 8 * CHUNK));
  assert.equal(wanted.length, 4);
  writeFileSync(recorded, formatTrace({ ...trace, touches: wanted }));
});
after(() => scratch?.[Symbol.dispose]());

/** Mounts in a cache of its own and waits until nothing more is fetched by itself. */
async function mounted(name: string, image: string, ...options: string[]): Promise<MountStatus> {
  const home = naiadHome(join(scratch.path, `home-${name}`));
  const mountpoint = join(scratch.path, `mnt-${name}`);
  mkdirSync(mountpoint);
  await using _mount = await home.mount(image, mountpoint, ...options);
  for (;;) {
    const status = await home.status(mountpoint);
    if (!status.prefetch || ['watching', 'off', 'stopped', 'complete'].includes(status.prefetch.state)) {
      // Not synchronously: the registry may be in this process.
      const bytes = await readFile(join(mountpoint, 'c'));
      assert.equal(sha(bytes), sha(noise(30 * CHUNK, 'c')), 'whatever the trace');
      return status;
    }
    await sleep(20);
  }
}

const sha = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const chunksOf = ({ devices }: MountStatus) => devices.reduce((sum, { chunks }) => sum + chunks, 0);
const whyOf = ({ mount }: MountStatus) => mount.why.join('\n');

test('trace: a mount fetches first what the trace in a file says, and that alone', { ...needs }, async () => {
  const status = await mounted('file', layout, '--prefetch-trace', recorded);
  assert.match(whyOf(status), /Trace .*recorded\.trace: 4 of 4 touches by content \(100 %\) apply; 4 chunks/);
  assert.equal(chunksOf(status), 4);
  const off = await mounted('off', layout, '--prefetch-trace', recorded, '--prefetch', 'none');
  assert.equal(chunksOf(off), 0);
});

test('trace: last week’s trace helps this week’s image, and says how much', { ...needs }, async () => {
  const newer = `oci:${join(scratch.path, 'newer')}:x`;
  await convertInto(naiadHome(join(scratch.path, 'convert')), newer, '-changed');
  const status = await mounted('newer', newer, '--prefetch-trace', recorded);
  assert.match(whyOf(status), /3 of 4 touches by content \(75 %\) and 1 by path \(25 %\) apply; 4 chunks/);
  assert.equal(chunksOf(status), 4);
});

const BROKEN: readonly { readonly name: string; readonly bytes: () => Uint8Array | string; readonly says: RegExp }[] = [
  {
    name: 'random bytes',
    bytes: () => noise(5000, 'x'),
    says: /^The trace is not used: \S+broken-0: list of paths, line 1/,
  },
  {
    name: 'a cut trace',
    bytes: () => readFileSync(recorded).subarray(0, 400),
    says: /is not used: \S+broken-1: trace, line \d/,
  },
  { name: 'paths that the image has not', bytes: () => '/nothing\n/of/the/kind\n', says: /nothing of it applies/ },
  {
    name: 'a trace that is too long',
    bytes: () => '{"format":"naiad-trace","version":1,"touches":999999999,"runs":1}\n',
    says: /is not used: \S+broken-3: a trace of 999999999 touches; at most 250000/,
  },
  { name: 'a version to come', bytes: () => '{"format":"naiad-trace","version":9}\n', says: /version 9/ },
];

/** What a mount with these options makes of traces, without mounting. */
async function used(image: string, request: FetchRequest): Promise<{ why: string; chunks: number }> {
  await using lookup = new TraceLookup(request);
  const onResolved = (source: ImageSource, manifestDigest: string) => lookup.begin({ source, manifestDigest });
  await using opened = await openConvertedImage(image, { onResolved });
  const { bootstrap } = opened;
  const devices = await openDevices(bootstrap, (blobId) => opened.blobReader(blobId));
  const { why = '', source } = await lookup.use({ bootstrap, devices }, { isHere: false });
  return { why, chunks: [...(source?.chunks ?? [])].length };
}

for (const [index, { name, bytes, says }] of BROKEN.entries()) {
  test(`trace: ${name} changes nothing but what the mount says`, { ...needs }, async () => {
    const prefetchTrace = join(scratch.path, `broken-${index}`);
    writeFileSync(prefetchTrace, bytes());
    const { why, chunks } = await used(layout, { prefetchTrace });
    assert.match(why, says);
    assert.equal(chunks, 0);
  });
}

test('trace: a mount with a broken trace is a mount', { ...needs }, async () => {
  const file = join(scratch.path, 'broken');
  writeFileSync(file, noise(5000, 'x'));
  const status = await mounted('broken', layout, '--prefetch-trace', file);
  assert.match(whyOf(status), /The trace is not used: \S+broken: list of paths, line 1/);
  assert.equal(chunksOf(status), 0);
});

for (const { kind, requirement, start } of [
  {
    kind: 'with a list of referrers',
    requirement: needs,
    start: () => startRegistry({ root: join(scratch.path, 'registry'), host: '127.0.0.1', port: 0 }),
  },
  { kind: 'without one', requirement: every(needs, dockerRegistry()), start: () => startDockerRegistry() },
]) {
  test(`trace: pushed beside an image to a registry ${kind}, found by mounts`, { ...requirement }, async () => {
    await using registry = await start();
    const image = `docker://${registry.host}/app:1-naiad`;
    await copyReference(layout, image, {});
    const before = await digestOf(image);
    assert.deepEqual(await listTraces(image, {}), []);
    const other: Trace = { runs: 1, touches: [{ path: '/a', offset: 0, atMs: 0, waitMs: 0, runs: 1 }] };
    const push = (trace: Trace, name: string, created: string) => pushTrace(trace, image, { name, created }, {});
    await push(other, 'worker', '2026-01-01T00:00:00Z');
    // The only one there is.
    assert.equal((await used(image, {})).chunks, 20);
    await push(other, 'default', '2026-01-02T00:00:00Z');
    const home = naiadHome(join(scratch.path, 'push'));
    await home.run(['trace', 'push', recorded, image]);
    assert.equal(await digestOf(image), before);
    const names = (await home.json<{ name: string }[]>(['trace', 'ls', image])).map(({ name }) => name);
    assert.deepEqual(names, ['default', 'worker']);

    const back = join(scratch.path, 'back.trace');
    await home.run(['trace', 'pull', image, back]);
    assert.deepEqual(readFileSync(back), readFileSync(recorded));
    const byDefault = await mounted(`default-${kind}`, image);
    assert.match(whyOf(byDefault), /Trace default: 4 of 4 touches by content/);
    assert.equal(chunksOf(byDefault), 4);
    assert.equal((await used(image, { traceName: 'worker' })).chunks, 20);
    assert.deepEqual(await used(image, { traceName: 'none' }), { why: '', chunks: 0 });
    const missing = await used(image, { traceName: 'nobody' });
    assert.match(missing.why, /The trace nobody beside the image is not used: the image has no trace "nobody"/);
    await assert.rejects(
      pullTrace(image, 'nobody', {}),
      (error) => hasCode(error, 'TRACE_NOT_FOUND') && error.hint === 'It has: default, worker.',
    );

    // Copies take it along.
    const copied = `docker://${registry.host}/copied:1`;
    await copyReference(image, copied, { referrers: true });
    assert.equal((await listTraces(copied, {})).length, 2);
  });
}

async function digestOf(image: string): Promise<string | undefined> {
  await using opened = await openConvertedImage(image);
  return opened.manifestDigest;
}

test('trace: one beside an image that is none is told of, and nothing else', { ...needs }, async () => {
  await using registry = await startRegistry({ root: join(scratch.path, 'hostile'), host: '127.0.0.1', port: 0 });
  const image = `docker://${registry.host}/app:1-naiad`;
  await copyReference(layout, image, {});
  const trace: Trace = { runs: 1, touches: [{ path: '/a', offset: 0, atMs: 0, waitMs: 0, runs: 1 }] };
  const { layer } = await pushTrace(trace, image, { name: 'default', created: '2026-01-01T00:00:00Z' }, {});
  const stored = join(scratch.path, 'hostile/blobs/sha256', layer.slice(7));
  writeFileSync(stored, noise(readFileSync(stored).length, 'y'));
  const { why, chunks } = await used(image, {});
  assert.match(why, /The trace auto beside the image is not used: /);
  assert.equal(chunks, 0);
});
