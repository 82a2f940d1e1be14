// A keeper that dies at the worst moment, and two that are not to be: no reader is lost, none reads what is not there.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { askKeeper } from '../../src/keeper/attached.ts';
import { Keeper } from '../../src/keeper/keeper.ts';
import { keeperProgram } from '../../src/native/keeper.ts';
import { processOf } from '../support/chaos/chaos.ts';
import { endAll } from '../support/end-all.ts';
import { CHUNK_SIZE, CHUNKS, chunkBytes, testDevice } from '../support/keeper-device.ts';
import { addon, every, preContent, program } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { temporaryDir } from '../support/temporary.ts';
import { until as untilHolds } from '../support/until.ts';

const until = (what: string, holds: () => boolean | Promise<boolean>) => untilHolds(what, holds, { everyMs: 2 });

const needs = every(addon(), preContent(), program('cc'));
const DAEMON = join(import.meta.dirname, '../support/keeper-daemon.js');
const INTERPOSER = join('test', 'support', 'die-after-read.c');

/** Readers of a chunk each, in processes of their own; rejects when one gets other bytes. */
async function assertReads(path: string, indices: readonly number[]): Promise<void> {
  const dd = (index: number) =>
    runTool('bash', ['-c', `dd if=${path} bs=${CHUNK_SIZE} skip=${index} count=1 status=none | base64 -w0`]);
  const reads = await Promise.all(indices.map(dd));
  for (const [i, { stdout }] of reads.entries()) {
    const index = indices[i] as number;
    assert.ok(Buffer.from(stdout, 'base64').equals(chunkBytes(index)), `chunk ${index} has other bytes`);
  }
}

/**
 * What NAIAD_KEEPER is to be for a keeper that dies once `order` exists and it has read events, or `when` else; with `before`,
 * words of a command that ends in the one to start.
 */
async function mortalKeeper(
  directory: string,
  order: string,
  { before = '', when = 'DIE_AFTER_READ' } = {},
): Promise<string> {
  const library = join(directory, 'die-after-read.so');
  await runTool('cc', ['-O1', '-Wall', '-Werror', '-shared', '-fPIC', INTERPOSER, '-o', library, '-ldl']);
  const script = join(directory, 'naiad-keeper');
  writeFileSync(script, `#!/bin/sh\n${when}=${order} LD_PRELOAD=${library} exec ${before} ${keeperProgram()} "$@"\n`);
  chmodSync(script, 0o755);
  return script;
}

test('keeper: events that it read and did not record are answered once everything is there', {
  ...needs,
}, async () => {
  using scratch = temporaryDir('keeper-deaths');
  const socketPath = join(scratch.path, 'keeper.sock');
  const order = join(scratch.path, 'die');
  process.env.NAIAD_KEEPER = await mortalKeeper(scratch.path, order);
  try {
    using device = testDevice({ directory: scratch.path, delayMs: 20 });
    await using keeper = await Keeper.start({ socketPath });
    await keeper.addDevice(device);
    await assertReads(device.path, [0]);
    assert.deepEqual(device.filled, [0]);
    writeFileSync(order, '');
    await assertReads(device.path, [8, 9, 10, 11, 12]);
    assert.ok(!existsSync(order), 'it died when it had read');
    await until('all unrecorded are answered', () => keeper.journal.unrecorded === 0);
    assert.equal(keeper.journal.keepers, 2);
    // Nobody knew which chunks the readers wanted.
    assert.equal(new Set(device.filled).size, CHUNKS);
    await keeper.removeDevice(device.name);
  } finally {
    delete process.env.NAIAD_KEEPER;
  }
});

test('keeper: however often it dies so, under a limit of open files that it cannot raise', {
  ...every(needs, program('setpriv'), program('prlimit')),
}, async () => {
  const deaths = 10;
  using scratch = temporaryDir('keeper-deaths');
  const order = join(scratch.path, 'die');
  const narrow = 'prlimit --nofile=8192:8192 setpriv --bounding-set=-sys_resource';
  process.env.NAIAD_KEEPER = await mortalKeeper(scratch.path, order, { before: narrow });
  try {
    // Until it is over, every death adds to the numbers that must not be used.
    let complete = () => {};
    const completed = new Promise<void>((resolve) => {
      complete = resolve;
    });
    using filling = testDevice({ directory: scratch.path });
    const device = { ...filling, complete: () => completed.then(filling.complete) };
    await using keeper = await Keeper.start({ socketPath: join(scratch.path, 'keeper.sock') });
    await keeper.addDevice(device);
    const reading: Promise<void>[] = [];
    for (let death = 1; death <= deaths; death++) {
      writeFileSync(order, '');
      reading.push(assertReads(device.path, [death]));
      await until('another has taken over', () => keeper.journal.keepers === death + 1);
    }
    complete();
    await Promise.all(reading);
    await until('all unrecorded are answered', () => keeper.journal.unrecorded === 0);
    await keeper.removeDevice(device.name);
  } finally {
    delete process.env.NAIAD_KEEPER;
  }
});

test('keeper: one that dies while its daemon greets it has a successor', { ...needs }, async () => {
  using scratch = temporaryDir('keeper-deaths');
  const order = join(scratch.path, 'die');
  process.env.NAIAD_KEEPER = await mortalKeeper(scratch.path, order, { when: 'DIE_AT_COMMAND' });
  writeFileSync(order, '');
  try {
    using device = testDevice({ directory: scratch.path });
    await using keeper = await Keeper.start({ socketPath: join(scratch.path, 'keeper.sock'), command: ['true'] });
    assert.ok(!existsSync(order), 'it died');
    await keeper.addDevice(device);
    assert.equal(keeper.journal.keepers, 2);
    await assertReads(device.path, [5]);
    await keeper.removeDevice(device.name);
  } finally {
    delete process.env.NAIAD_KEEPER;
  }
});

test('keeper: such events are answered as well when the daemon dies before it could', { ...needs }, async () => {
  using scratch = temporaryDir('keeper-deaths');
  const socketPath = join(scratch.path, 'keeper.sock');
  const order = join(scratch.path, 'die');
  const pids = () => readFileSync(join(scratch.path, 'pids'), 'utf8').trim().split('\n').map(Number);
  const env = { ...process.env, NAIAD_KEEPER: await mortalKeeper(scratch.path, order) };
  // Slow enough that it has not completed the device when it dies.
  const first = spawn(process.execPath, [DAEMON, scratch.path, '1500'], {
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  try {
    await until('the daemon is ready', () => existsSync(join(scratch.path, 'pids')));
    const path = join(scratch.path, 'device.data');
    const keeper = processOf('keeper', socketPath);
    writeFileSync(order, '');
    const reading = assertReads(path, [1, 2, 3]);
    await until('the next keeper has its devices', async () => {
      const report = await askKeeper(socketPath).catch(() => undefined);
      return report !== undefined && report.pid !== keeper && report.devices === 1;
    });
    process.kill(pids().at(-1) as number, 'SIGKILL');
    await reading;
    await until('the next daemon is ready', () => pids().length === 2);
  } finally {
    await endAll(scratch.path);
    first.kill('SIGKILL');
  }
});

test('keeper: of many that are started for one socket one stays, also while it hangs', { ...needs }, async () => {
  using scratch = temporaryDir('keeper-deaths');
  const socketPath = join(scratch.path, 'keeper.sock');
  const start = () => spawn(keeperProgram(), ['--socket', socketPath], { stdio: ['ignore', 'ignore', 'inherit'] });
  const running = new Set<ChildProcess>();
  const codes: unknown[] = [];
  const begin = (count: number) => {
    for (let index = 0; index < count; index++) {
      const child = start();
      running.add(child);
      child.once('exit', (code) => {
        running.delete(child);
        codes.push(code);
      });
    }
  };
  try {
    begin(8);
    await until('all but one have ended', () => running.size === 1);
    assert.deepEqual(new Set(codes), new Set([3]));
    const [one] = running;
    assert.equal((await askKeeper(socketPath))?.pid, one?.pid);
    one?.kill('SIGSTOP');
    begin(2);
    await until('the new ones have ended', () => running.size === 1);
    one?.kill('SIGCONT');
    assert.equal((await askKeeper(socketPath))?.pid, one?.pid);
    assert.deepEqual([...running], [one]);
  } finally {
    const ended = [...running].map((child) => once(child, 'exit'));
    for (const child of running) child.kill('SIGKILL');
    await Promise.all(ended);
  }
  // The lock of one that was killed holds nobody up.
  const keeper = await Keeper.start({ socketPath });
  await keeper[Symbol.asyncDispose]();
  await until('nothing is left', () => !existsSync(socketPath) && !existsSync(`${socketPath}.lock`));
});
