// `naiad unpack` against umoci's unpacking of the original: everything as root, all that a user may as a user; and what
// happens when the image is damaged or is none of ours.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startRegistry } from '../../src/registry-server/start.ts';
import { type FixtureName, fixture, fixturePath, umoci, umociUnpack } from '../support/fixtures.ts';
import { NAIAD, startNaiad } from '../support/naiad.ts';
import { addon, every, program, root } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { temporaryDir } from '../support/temporary.ts';
import { assertSameTree, readTree } from '../support/tree.ts';

const NEEDS = every(root(), addon(), umoci(), program('getfattr'));
/** nobody: a user who owns nothing. */
const USER = 65534;

const directory = temporaryDir('unpack');
const place = (name: string) => join(directory.path, name);
const naiad = (args: readonly string[], okay = [0]) => runTool(process.execPath, [NAIAD, ...args], { okay });
before(() => chmodSync(directory.path, 0o755));
after(() => directory[Symbol.dispose]());

/** The same promise for the same key: what several tests need is made by the first. */
function onceEach<T>(make: (name: FixtureName) => Promise<T>): (name: FixtureName) => Promise<T> {
  const made = new Map<FixtureName, Promise<T>>();
  return (name) => {
    const known = made.get(name) ?? make(name);
    made.set(name, known);
    return known;
  };
}

/** Converts a fixture; gives the reference of the converted image. */
const convert = onceEach(async (name) => {
  const target = `oci:${place(name)}:naiad`;
  await naiad(['convert', `oci:${fixturePath(name)}:latest`, target]);
  return target;
});
const unpackedByUmoci = onceEach((name) => umociUnpack(fixturePath(name), 'latest', place(`${name}-umoci`)));

for (const name of ['features', 'odd-names'] as const) {
  test(`unpack: ${name} is what umoci unpacks, to the nanosecond and the last xattr`, {
    ...every(NEEDS, fixture(name)),
  }, async () => {
    const expected = await unpackedByUmoci(name);
    const actual = place(`${name}-naiad`);
    const { stdout } = await naiad(['unpack', await convert(name), actual]);
    assert.match(stdout, /: \d+ names, [\d.]+ .?B of data\n$/);
    const [before, after] = [await readTree(expected), await readTree(actual)];
    // In a pax header an empty value takes a record away, so umoci drops xattrs without a value; images do have them.
    for (const { xattrs } of after.values())
      if (xattrs['user.empty'] === '') delete (xattrs as Record<string, string>)['user.empty'];
    assertSameTree(before, after);
  });
}

for (const name of ['features', 'odd-names'] as const) {
  test(`unpack: ${name} as an ordinary image is what it was made of, and converts to the same again`, {
    ...every(NEEDS, fixture(name)),
  }, async () => {
    const plain = `oci:${place(`${name}-plain`)}:plain`;
    await naiad(['unpack', await convert(name), plain]);
    const [before, after] = await Promise.all([
      readTree(await unpackedByUmoci(name)),
      readTree(await umociUnpack(place(`${name}-plain`), 'plain', place(`${name}-plain-umoci`))),
    ]);
    assertSameTree(before, after);
    const again = `oci:${place(`${name}-again`)}:naiad`;
    await naiad(['convert', plain, again]);
    const { stdout } = await naiad(['--json', 'diff', await convert(name), again]);
    assert.deepEqual(JSON.parse(stdout).names, []);
  });
}

test('unpack: what no layer can hold is left out, and told of', NEEDS, async () => {
  const source = place('no-layer');
  mkdirSync(source);
  writeFileSync(join(source, '.wh.kept'), 'a name like others');
  const listening = createServer().listen(join(source, 'socket'));
  await once(listening, 'listening');
  const image = `oci:${place('no-layer-image')}:x`;
  await naiad(['convert', `dir:${source}`, image]);
  listening.close();
  const { stderr } = await naiad(['unpack', image, `oci:${place('no-layer-plain')}:x`], [3]);
  assert.match(stderr, /left out, because no layer can hold it: .*begin with \.wh\.: 1, first \/\.wh\.kept/);
  assert.match(stderr, /sockets: 1, first \/socket/);
});

test('unpack: holes of the original stay holes', { ...every(NEEDS, fixture('features')) }, async () => {
  const target = place('sparse');
  await naiad(['unpack', await convert('features'), target]);
  const { stdout } = await runTool('find', [target, '-type', 'f', '-size', '+4M', '-printf', '%s %b %p\\n']);
  const sparse = stdout.split('\n').filter((line) => {
    const [size = '0', blocks = '0'] = line.split(' ');
    return Number(blocks) * 512 < Number(size) / 2;
  });
  assert.notEqual(sparse.length, 0, stdout);
});

test('unpack: a user gets all that a user may, is told what not, and the exit code says 3', {
  ...every(NEEDS, fixture('features')),
}, async () => {
  const image = await convert('features');
  const target = place('by-user');
  mkdirSync(target, { mode: 0o700 });
  await runTool('chown', [String(USER), target]);
  await runTool('chmod', ['-R', 'a+rX', place('features')]);
  const command = ['--reuid', String(USER), '--regid', String(USER), '--clear-groups', process.execPath, NAIAD];
  const { stdout, stderr } = await runTool('setpriv', [...command, '--json', 'unpack', image, target], { okay: [3] });
  const { skipped } = JSON.parse(stdout) as { skipped: { what: string; count: number; example: string }[] };
  const names = skipped.map(({ what }) => what).sort();
  assert.ok(names.includes('owners') && names.includes('device nodes'), stdout);
  for (const { count, example } of skipped) assert.ok(count > 0 && example.startsWith('/'));
  assert.equal((JSON.parse(stderr) as { code: string }).code, 'PARTIAL');

  const [expected, actual] = [await readTree(await unpackedByUmoci('features')), await readTree(target)];
  for (const [path, entry] of expected) if (entry.type === 'char' || entry.type === 'block') expected.delete(path);
  // What only root may: owners, and the set-id bits and xattrs that depend on them; links of left-out devices.
  assertSameTree(expected, actual, { without: ['uid', 'gid', 'xattrs'], ignore: () => false });
});

test('unpack: a directory with something in it is left alone', { ...every(NEEDS, fixture('features')) }, async () => {
  const target = place('full');
  mkdirSync(target);
  writeFileSync(join(target, 'precious'), 'x');
  const { stderr } = await naiad(['unpack', await convert('features'), target], [2]);
  assert.match(stderr, /^error\[TARGET_EXISTS\]: .*full is not empty\nhint: /);
  assert.deepEqual(readdirSync(target), ['precious']);
});

test('unpack, ls, cat, check: an ordinary image is refused by name', {
  ...every(NEEDS, fixture('features')),
}, async () => {
  const image = `oci:${fixturePath('features')}:latest`;
  for (const args of [
    ['unpack', image, place('ordinary')],
    ['ls', image],
    ['cat', image, '/etc'],
    ['check', image],
  ]) {
    const { stderr } = await naiad(args, [13]);
    assert.match(stderr, /^error\[NOT_CONVERTED\]: .*\nhint: .*naiad convert /, args[0]);
  }
});

test('unpack, cat, check --data: a damaged blob is noticed before its bytes are used', {
  ...every(NEEDS, fixture('features')),
}, async () => {
  await convert('features');
  const layout = place('damaged');
  await runTool('cp', ['-a', place('features'), layout]);
  const blobs = readdirSync(join(layout, 'blobs/sha256')).map((name) => join(layout, 'blobs/sha256', name));
  const largest = blobs.sort((a, b) => readFileSync(b).length - readFileSync(a).length)[0] as string;
  const bytes = readFileSync(largest);
  bytes[1000] = (bytes[1000] as number) ^ 0x10;
  writeFileSync(largest, bytes);
  const image = `oci:${layout}:naiad`;
  const { stderr } = await naiad(['unpack', image, place('from-damaged')], [12]);
  assert.match(stderr, /^error\[CHUNK_(DIGEST_MISMATCH|INVALID)\]: /);
  await naiad(['check', image]);
  const checked = await naiad(['check', '--data', image], [12]);
  assert.match(checked.stdout, /CHUNK_(DIGEST_MISMATCH|INVALID)/);
  assert.match(checked.stderr, /^error\[CHECK_FAILED\]: /);
});

test('unpack: interrupted, it says so and ends with 130', { ...every(NEEDS, fixture('features')) }, async () => {
  const root = place('registry');
  {
    await using fast = await startRegistry({ root, host: '127.0.0.1', port: 0 });
    await naiad(['convert', `oci:${fixturePath('features')}:latest`, `${fast.host}/features:naiad`]);
  }
  // Slow enough that the data of 11 MB takes a minute; names come at once.
  await using slow = await startRegistry({ root, host: '127.0.0.1', port: 0, bandwidth: 200_000 });
  const target = place('interrupted');
  const child = startNaiad(['unpack', `${slow.host}/features:naiad`, target], process.env);
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (piece: string) => {
    stderr += piece;
  });
  const watch = setInterval(() => {
    if (!existsSync(join(target, 'srv'))) return;
    clearInterval(watch);
    child.kill('SIGINT');
  }, 50);
  const [code] = await once(child, 'close');
  assert.equal(code, 130, stderr);
  assert.equal(
    stderr,
    `error[CANCELED]: interrupted by SIGINT\nhint: ${target} is incomplete: remove it before you try again.\n`,
  );
});
