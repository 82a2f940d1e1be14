// Traces of real mounts: what is read is what is recorded, by every driver, cached or not; and what a start reads.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { parseTraceFile, type Trace } from '../../src/format/trace/trace.ts';
import { readTrace } from '../../src/trace/read-trace.ts';
import { DRIVERS, driver } from '../support/drivers.ts';
import { type NaiadHome, naiadHome } from '../support/naiad.ts';
import { every, program, root } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { makeShellImage, shellImage } from '../support/shell-image.ts';
import { temporaryDir } from '../support/temporary.ts';

const needs = every(root(), program('runc'), shellImage());

let scratch: ReturnType<typeof temporaryDir>;
let naiad: NaiadHome;
let image: string;

before(async () => {
  if (needs.skip !== false) return;
  scratch = temporaryDir('trace');
  naiad = naiadHome(join(scratch.path, 'home'));
  const source = await makeShellImage(scratch.path);
  image = `oci:${join(scratch.path, 'converted')}:shell`;
  await naiad.run(['convert', '--quiet', '--chunk-size', '256KiB', source, image]);
});
after(async () => {
  await naiad?.[Symbol.asyncDispose]();
  scratch?.[Symbol.dispose]();
});

/** Of the twelve chunks of /srv/large, its five letters make the sixth the same as the first, and so on; but for the last. */
const LARGE_OFFSETS = [0, 1, 2, 3, 4, 11].map((index) => index * 262_144);

const traceAt = (path: string): Trace => parseTraceFile(readFileSync(path));

/** Touches of one file, by position. */
function offsetsOf(trace: Trace, path: string): number[] {
  const own = trace.touches.filter((touch) => touch.path === path);
  return own.map(({ offset }) => offset).sort((a, b) => a - b);
}

for (const { name } of DRIVERS) {
  test(`trace: ${name} records each chunk at its first read, when it is fetched and when it is cached`, {
    ...every(needs, driver(name)),
  }, async () => {
    const home = naiadHome(join(scratch.path, name));
    const mountpoint = join(scratch.path, `${name}-mnt`);
    mkdirSync(mountpoint);
    const traces: Trace[] = [];
    for (const round of ['cold', 'cached']) {
      const file = join(scratch.path, `${name}-${round}.trace`);
      await home.run(['mount', '--quiet', '--driver', name, '--trace', file, image, mountpoint]);
      await runTool('bash', ['-c', `cat bin/cat srv/large etc/group srv/large >/dev/null`], { cwd: mountpoint });
      const saved = join(scratch.path, `${name}-${round}-saved.trace`);
      await home.run(['trace', 'save', mountpoint, saved]);
      await home.run(['umount', mountpoint]);
      assert.deepEqual(traceAt(saved).touches.map(untimed), traceAt(file).touches.map(untimed));
      traces.push(traceAt(file));
    }
    const [cold, cached] = traces as [Trace, Trace];
    for (const trace of [cold, cached]) {
      assert.match(trace.image ?? '', /^sha256:/);
      assert.deepEqual(offsetsOf(trace, '/srv/large'), LARGE_OFFSETS);
      const first = (path: string) => trace.touches.findIndex((touch) => touch.path === path);
      assert.ok(first('/bin/cat') < first('/srv/large') && first('/srv/large') < first('/etc/group'), 'in order');
      const places = trace.touches.map(({ path, offset }) => `${path} ${offset}`);
      assert.equal(new Set(places).size, places.length, 'none twice');
    }
    assert.ok(cold.touches.some(({ waitMs }) => waitMs > 0));
    const { stdout } = await home.run([
      '--json',
      'trace',
      'show',
      join(scratch.path, `${name}-cold.trace`),
      '--image',
      image,
    ]);
    const { applied } = JSON.parse(stdout) as { applied: { same: boolean; byContent: number; touches: number } };
    assert.deepEqual([applied.same, applied.byContent], [true, cold.touches.length]);
  });
}

const untimed = ({ path, offset, chunk }: Trace['touches'][number]) => ({ path, offset, chunk });

test('trace: record runs an image until it is ready, and ends it', { ...needs }, async () => {
  const file = join(scratch.path, 'ready.trace');
  const command = ['head -c 300000 /srv/large >/dev/null; echo now ready; sleep 1000; cat /etc/group'];
  const args = ['--json', 'trace', 'record', '-o', file, '--ready', 'log:^now ready$', image, ...command];
  const { stdout } = await naiad.run(args);
  const trace = traceAt(file);
  const { readyMs = 0 } = trace;
  assert.ok(readyMs > 0 && readyMs < 60_000);
  assert.ok(Math.abs((JSON.parse(stdout) as { readyMs: number }).readyMs - readyMs) < 0.001);
  assert.ok(trace.touches.some(({ path }) => path === '/bin/sh'));
  assert.ok(offsetsOf(trace, '/srv/large').includes(262_144));
  assert.deepEqual(offsetsOf(trace, '/etc/group').length > 0, true, 'read for the user of the container');
  assert.deepEqual(await naiad.json('status'.split(' ')), []);
});

for (const { name, args, exit, says } of [
  {
    name: 'that ends before it is ready',
    args: ['--ready', 'log:never', 'IMAGE', 'echo oh dear'],
    exit: 1,
    says: /ended with 0 before.*oh dear/s,
  },
  { name: 'that fails', args: ['--ready', 'exit', 'IMAGE', 'exit 3'], exit: 1, says: /ended with 3/ },
  {
    name: 'that is never ready',
    args: ['--ready', 'tcp:1', '--timeout', '300ms', 'IMAGE', 'sleep 1000'],
    exit: 16,
    says: /within 0.3 s/,
  },
  { name: 'with a readiness nobody knows', args: ['--ready', 'soon', 'IMAGE'], exit: 2, says: /soon/ },
]) {
  test(`trace: record of a container ${name}`, { ...needs }, async () => {
    const file = join(scratch.path, 'failed.trace');
    const words = args.map((word) => (word === 'IMAGE' ? image : word));
    const { stderr } = await naiad.run(['trace', 'record', '-o', file, ...words], { okay: [exit] });
    assert.match(stderr, says);
    assert.throws(() => readFileSync(file), { code: 'ENOENT' });
    assert.deepEqual(await naiad.json(['status']), []);
  });
}

test('trace: record for a time, of a command of its own', { ...needs }, async () => {
  const file = join(scratch.path, 'timed.trace');
  // A machine that is busy may take longer to read it.
  for (const duration of ['500ms', '5s', '50s']) {
    const command = ['--user', '0', image, 'cat /srv/large >/dev/null; sleep 99'];
    await naiad.run(['trace', 'record', '-o', file, '--duration', duration, ...command]);
    if (offsetsOf(traceAt(file), '/srv/large').length === LARGE_OFFSETS.length) break;
  }
  assert.equal(traceAt(file).readyMs, undefined);
  assert.deepEqual(offsetsOf(traceAt(file), '/srv/large'), LARGE_OFFSETS);
  const run = join(scratch.path, 'run.trace.zst');
  await naiad.run(['run', '--trace', run, '--user', '0', image, 'cat /srv/large >/dev/null']);
  assert.deepEqual(offsetsOf(await readTrace(run), '/srv/large'), LARGE_OFFSETS);
  const broken = join(scratch.path, 'broken.trace');
  writeFileSync(broken, readFileSync(file).subarray(0, 300));
  const { stderr } = await naiad.run(['trace', 'show', broken], { okay: [12] });
  assert.match(stderr, /trace, line \d+/);
});
