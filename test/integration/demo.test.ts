// `naiad demo` as a user runs it: its figures add up, and nothing of it stays, also when it is interrupted.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DemoReport } from '../../src/demo/demo.ts';
import { mountpointsBelow, NAIAD } from '../support/naiad.ts';
import { every, fuse, program, root } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { temporaryDir } from '../support/temporary.ts';
import { until } from '../support/until.ts';

const needs = every(root(), fuse(), program('chroot'), program('tar'), program('unshare'));
const FAST = ['--bandwidth', '1gbit', '--latency', '1ms'];

const scratch = temporaryDir('demo');
after(() => scratch[Symbol.dispose]());

/** An environment whose temporary directory is a fresh one. */
function ownTmp(name: string): { readonly tmp: string; readonly env: NodeJS.ProcessEnv } {
  const tmp = join(realpathSync(scratch.path), name);
  mkdirSync(tmp);
  return {
    tmp,
    env: { ...process.env, TMPDIR: tmp, NAIAD_CACHE: join(tmp, 'cache'), NAIAD_STATE: join(tmp, 'state') },
  };
}

/** Command lines of processes with `text` in them. */
function processesNaming(text: string): string[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.flatMap((pid) => {
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      return line.includes(text) ? [`${pid}: ${line}`] : [];
    } catch {
      return [];
    }
  });
}

/** No mount, no process, no file: neither of the demo's own nor in the user's cache and state. */
async function assertNothingLeft(tmp: string): Promise<void> {
  assert.deepEqual(mountpointsBelow(tmp), []);
  // The keeper ends a moment after the daemon that told it to.
  await until('every process has ended', () => processesNaming(tmp).length === 0);
  assert.deepEqual(readdirSync(tmp), []);
}

test('the demo measures a full pull, a lazy and a warm start of the same program', { ...needs }, async () => {
  const { tmp, env } = ownTmp('whole');
  const { stdout, stderr } = await runTool(process.execPath, [NAIAD, '--json', 'demo', ...FAST], { env });
  const report = JSON.parse(stdout) as DemoReport;
  await assertNothingLeft(tmp);

  const { image, full, lazy, warm, shares } = report;
  assert.ok(report.output.startsWith(`Node ${process.version}: hello `), report.output);
  assert.equal(report.machine.node, process.version);
  assert.deepEqual(report.link, { bytesPerSecond: 125e6, latencyMs: 1 });
  assert.deepEqual(
    image.layers.map(({ what }) => what),
    ['shared libraries', 'the node binary', 'npm, headers and documents', 'an application'],
  );
  for (const { files, tarSize, storedSize } of image.layers) assert.ok(files > 0 && tarSize > 0 && storedSize > 0);
  assert.ok(image.storedSize < image.tarSize && image.convertedSize < image.tarSize, JSON.stringify(image));

  assert.equal(full.bytes, image.storedSize, 'a full pull fetches the whole image, once');
  assert.equal(full.requests, image.layers.length + 2, 'the manifest, the config and the layers');
  assert.ok(lazy.bytes > 0 && lazy.bytes < full.bytes, `${lazy.bytes} of ${full.bytes}`);
  assert.equal(warm.bytes, warm.atMounted.bytes, 'a warm start fetches nothing once it is mounted');
  assert.ok(warm.bytes < 8192, `${warm.bytes} bytes of a manifest`);
  assert.ok(warm.requests < lazy.atMounted.requests, `${warm.requests} of ${lazy.atMounted.requests} requests`);
  assert.equal(shares.lazy.bytes, lazy.bytes / full.bytes);
  assert.equal(shares.warm.seconds, warm.firstOutputSeconds / full.firstOutputSeconds);
  assertRising([0, full.downloadedSeconds, full.firstOutputSeconds, full.endSeconds]);
  assertRising([0, full.unpackedSeconds, full.firstOutputSeconds]);
  for (const run of [lazy, warm]) {
    assertRising([0, run.mountedSeconds, run.firstOutputSeconds, run.endSeconds, run.unmountedSeconds]);
    assertRising([0, run.atMounted.bytes, run.atEnd.bytes + 1, run.bytes + 2]);
  }

  const steps = stderr.trimEnd().split('\n');
  assert.deepEqual(
    steps.map((line) => (JSON.parse(line) as { message: string }).message.split(':')[0]),
    [
      `building an image of Node ${process.version} as it is installed here`,
      'pushing it',
      'converting it',
      'full pull',
      'lazy',
      'warm',
    ],
  );
});

function assertRising(values: readonly number[]): void {
  for (const [index, value] of values.slice(1).entries()) assert.ok(value > (values[index] as number), String(values));
}

for (const { option, value } of [
  { option: '--bandwidth', value: 'fast' },
  { option: '--bandwidth', value: '0mbit' },
  { option: '--latency', value: '20' },
]) {
  test(`the demo does not begin with ${option} ${value}`, async () => {
    const { stdout, stderr } = await runTool(process.execPath, [NAIAD, 'demo', option, value], { okay: [2] });
    assert.equal(stdout, '');
    assert.match(stderr, new RegExp(`^error\\[USAGE\\]: ${option} "${value}" is not understood\nhint: `));
  });
}

test('where nothing can be mounted, the demo says why before it begins, and leaves nothing', {
  ...needs,
}, async () => {
  const { tmp, env } = ownTmp('unmountable');
  // A mount table of its own, in which there are hardly any devices, and nobody who may mount.
  const script =
    'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && exec setpriv --bounding-set=-sys_admin -- "$@"';
  const line = ['-m', 'sh', '-c', script, 'sh', process.execPath, NAIAD, 'demo', ...FAST];
  const { stdout, stderr } = await runTool('unshare', line, { env, okay: [13] });
  assert.equal(stdout, '');
  assert.match(stderr, /^error\[DRIVER_UNAVAILABLE\]: .*\nhint: /);
  await assertNothingLeft(tmp);
});

/** A Node with nothing installed beside it: of that the demo makes half of the image, in half of the time. */
function bareNode(): string {
  const path = join(scratch.path, 'bare', 'bin', 'node');
  mkdirSync(dirname(path), { recursive: true });
  copyFileSync(process.execPath, path);
  return path;
}

/** Each waits for a line of the demo, then some milliseconds: that long steps are hit in their middle. */
for (const { after: line, delayMs, signal, exit } of [
  { after: 'converting', delayMs: 400, signal: 'SIGTERM', exit: 143 },
  { after: 'mounted', delayMs: 0, signal: 'SIGINT', exit: 130 },
] as const) {
  test(`${signal} ${delayMs} ms after "${line}" ends the demo with ${exit} and leaves nothing`, {
    ...needs,
  }, async () => {
    const { tmp, env } = ownTmp(`${line.replace(' ', '-')}-${delayMs}`);
    const child = spawn(bareNode(), [NAIAD, 'demo', ...FAST], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (piece: string) => {
      stderr += piece;
    });
    const closed = once(child, 'close');
    const reached = () => (line === 'mounted' ? mountpointsBelow(tmp).length > 0 : stderr.includes(line));
    while (!reached() && child.exitCode === null) await sleep(10);
    await sleep(delayMs);
    child.kill(signal);
    const [code] = await closed;
    assert.equal(code, exit, stderr);
    assert.ok(stderr.endsWith(`error[CANCELED]: interrupted by ${signal}\n`), stderr);
    await assertNothingLeft(tmp);
  });
}
