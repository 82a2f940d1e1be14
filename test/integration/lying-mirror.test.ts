// Mirrors whose bytes are wrong, under a mount: readers get the right ones from elsewhere, and the mirrors are left alone. And what
// many mounts of one registry share.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type BadRegistry, startBadRegistry } from '../support/bad-registry.ts';
import { patterned } from '../support/blobs.ts';
import { naiadHome } from '../support/naiad.ts';
import { addon, every, fuse, root } from '../support/requires.ts';
import { temporaryDir } from '../support/temporary.ts';

const needs = every(root(), fuse(), addon());
const FILES = 8;
const MOUNTS = 6;
const FILE_SIZE = 300_000;

let scratch: ReturnType<typeof temporaryDir>;
let layout: string;

before(async () => {
  if (needs.skip !== false) return;
  scratch = temporaryDir('lying-mirror');
  layout = join(scratch.path, 'layout');
  const tree = join(scratch.path, 'tree');
  mkdirSync(tree);
  for (let index = 0; index < FILES; index++)
    writeFileSync(join(tree, `file-${index}`), patterned(FILE_SIZE, index + 1));
  await using naiad = naiadHome(join(scratch.path, 'convert'));
  await naiad.run(['convert', '--quiet', '--compressor=none', `dir:${tree}`, `oci:${layout}:x`]);
});
after(() => {
  if (needs.skip === false) scratch[Symbol.dispose]();
});

/** A certs.d in which `registry.test` is `origin`, behind `mirrors`. */
function hostsFor(directory: string, origin: BadRegistry, mirrors: readonly BadRegistry[]): string {
  const certs = join(directory, 'certs.d');
  mkdirSync(join(certs, 'registry.test'), { recursive: true });
  const lines = mirrors.map(({ host }) => `[host."http://${host}"]\ncapabilities = ["pull", "resolve"]`);
  writeFileSync(join(certs, 'registry.test', 'hosts.toml'), `server = "http://${origin.host}"\n${lines.join('\n')}\n`);
  return certs;
}

/** Flips a bit in every blob of `registry`, by way of another address when `redirects`. */
function makeLie(registry: BadRegistry, { redirects }: { readonly redirects: boolean }): { blobs: number } {
  const asked = { blobs: 0 };
  registry.script = ({ kind, range }) => {
    if (kind === 'blob') asked.blobs++;
    if (kind === 'blob' && redirects) return { kind: 'redirect', validMs: 60_000 };
    // Of a range, not always its first chunk.
    return kind === 'blob' || kind === 'signed' ? { kind: 'flip', at: range ? 5000 : 300 } : undefined;
  };
  return asked;
}

test('a lying mirror is told apart, left alone, and reported; the bytes come from elsewhere', {
  ...needs,
}, async () => {
  const dir = join(scratch.path, 'lies');
  const mountpoint = join(dir, 'mnt');
  mkdirSync(mountpoint, { recursive: true });
  await using origin = await startBadRegistry(layout);
  await using first = await startBadRegistry(layout);
  await using second = await startBadRegistry(layout);
  const certs = hostsFor(dir, origin, [first, second]);
  const asked = [makeLie(first, { redirects: false }), makeLie(second, { redirects: true })];
  await using naiad = naiadHome(dir);
  await using _mount = await naiad.mount('docker://registry.test/some/image:x', mountpoint, '--certs-dir', certs);
  const after: number[] = [];
  for (let index = 0; index < FILES; index++) {
    assert.ok(
      (await readFile(join(mountpoint, `file-${index}`))).equals(patterned(FILE_SIZE, index + 1)),
      `file ${index}`,
    );
    if (index === 1) after.push(...asked.map(({ blobs }) => blobs));
  }
  assert.ok(
    after.every((blobs) => blobs > 0),
    `each mirror was tried: ${after}`,
  );
  assert.deepEqual(
    asked.map(({ blobs }) => blobs),
    after,
    'neither is asked any more',
  );
  const { slow, traffic, counters } = await naiad.status(mountpoint);
  assert.deepEqual([...(traffic?.distrusted ?? [])].sort(), [first.host, second.host].sort());
  for (const { host } of [first, second]) {
    assert.ok(
      slow.some((line) => line.startsWith(`Mirror ${host} gave wrong bytes`)),
      slow.join('\n'),
    );
  }
  assert.equal(counters.errors, 0);
});

test('a distrusted mirror is better than nothing: its bytes are checked as all are', { ...needs }, async () => {
  const dir = join(scratch.path, 'alone');
  const mountpoint = join(dir, 'mnt');
  mkdirSync(mountpoint, { recursive: true });
  await using origin = await startBadRegistry(layout);
  await using mirror = await startBadRegistry(layout);
  const certs = hostsFor(dir, origin, [mirror]);
  await using naiad = naiadHome(dir);
  await using _mount = await naiad.mount('docker://registry.test/some/image:x', mountpoint, '--certs-dir', certs);
  makeLie(mirror, { redirects: false });
  assert.ok((await readFile(join(mountpoint, 'file-7'))).equals(patterned(FILE_SIZE, 8)));
  await origin.down();
  mirror.script = () => undefined;
  assert.ok((await readFile(join(mountpoint, 'file-0'))).equals(patterned(FILE_SIZE, 1)));
});

test(`${MOUNTS} mounts of one registry share its connections`, { ...needs }, async () => {
  const dir = join(scratch.path, 'shared');
  mkdirSync(dir);
  await using registry = await startBadRegistry(layout);
  await using naiad = naiadHome(dir);
  const places = Array.from({ length: MOUNTS }, (_, index) => join(dir, `mnt-${index}`));
  for (const [index, place] of places.entries()) {
    mkdirSync(place);
    await naiad.mount(`docker://${registry.host}/image-${index}:x`, place, '--quiet');
    assert.ok((await readFile(join(place, `file-${index % FILES}`))).equals(patterned(FILE_SIZE, (index % FILES) + 1)));
  }
  // One after the other, each finds the connections of the one before: one for its ranges, one for all else.
  assert.ok(registry.connections < 2 * MOUNTS, `${registry.connections} connections`);
});
