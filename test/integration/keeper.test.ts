// The keeper: events of plain files, answered by it, by its daemon, or by whoever comes after either was killed.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, fstatSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startTimeOf } from '../../src/base/process-identity.ts';
import { KEEPER_CALLS, keeperMessage } from '../../src/format/keeper/records.ts';
import { viewOf } from '../../src/format/record.ts';
import { Keeper } from '../../src/keeper/keeper.ts';
import { KeeperHandle } from '../../src/mount/keeper-handle.ts';
import { connectPackets, receiveDescriptors, sendDescriptors } from '../../src/native/descriptors.ts';
import { endAll } from '../support/end-all.ts';
import { CHUNK_SIZE, CHUNKS, chunkBytes, testDevice } from '../support/keeper-device.ts';
import { addon, every, preContent } from '../support/requires.ts';
import { stopKeeper } from '../support/stop-keeper.ts';
import { temporaryDir } from '../support/temporary.ts';
import { until as untilHolds } from '../support/until.ts';

const until = (what: string, holds: () => boolean | Promise<boolean>) => untilHolds(what, holds, { everyMs: 10 });

const needs = every(addon(), preContent());
const DAEMON = join(import.meta.dirname, '../support/keeper-daemon.js');

interface Read {
  readonly bytes: Buffer;
  /** Empty, or why it failed. */
  readonly said: string;
}

/** A reader that waits so long waits for ever. */
const READ_TIMEOUT_MS = 60_000;

/** Reads a chunk in a process of its own, since events of this one are the daemon's. */
function readChunk(path: string, index: number): Promise<Read> {
  const dd = spawn('dd', [`if=${path}`, `bs=${CHUNK_SIZE}`, `skip=${index}`, 'count=1', 'status=none'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, LC_ALL: 'C' },
    timeout: READ_TIMEOUT_MS,
    killSignal: 'SIGKILL',
  });
  const bytes: Buffer[] = [];
  let said = '';
  dd.stdout.on('data', (piece: Buffer) => bytes.push(piece));
  dd.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  return once(dd, 'close').then(([, signal]) => ({ bytes: Buffer.concat(bytes), said: `${said}${signal ?? ''}` }));
}

async function assertReads(path: string, indices: Iterable<number>): Promise<void> {
  const all = [...indices];
  const reads = await Promise.all(all.map((index) => readChunk(path, index)));
  for (const [i, { bytes, said }] of reads.entries()) {
    assert.equal(said, '');
    assert.ok(bytes.equals(chunkBytes(all[i] as number)), `chunk ${all[i]} has other bytes`);
  }
}

/** The process that listens on `socketPath`, by its arguments. */
function keeperPid(socketPath: string): number | undefined {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids
    .filter((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        return /naiad-keeper$/.test(words[0] ?? '') && words.includes(socketPath) && startTimeOf(Number(pid));
      } catch {
        return false;
      }
    })
    .map(Number)[0];
}

function mustBePid(socketPath: string): number {
  const pid = keeperPid(socketPath);
  assert.ok(pid !== undefined, 'a keeper runs');
  return pid;
}

test('keeper: what is ready it answers alone, the rest waits for the daemon; it ends with it', {
  ...needs,
}, async () => {
  using scratch = temporaryDir('keeper');
  const socketPath = join(scratch.path, 'keeper.sock');
  using device = testDevice({ directory: scratch.path });
  const keeper = await Keeper.start({ socketPath });
  await keeper.addDevice(device);
  device.fill(3);
  await assertReads(device.path, [3]);
  assert.deepEqual(device.filled, []);
  assert.equal(keeper.journal.answeredReady, 1);
  await assertReads(device.path, [0, 3, 8, 9, 63]);
  assert.deepEqual(device.filled.sort(), [0, 63, 8, 9]);
  await keeper.removeDevice(device.name);
  const { events } = keeper.journal;
  await readChunk(device.path, 17);
  assert.equal(keeper.journal.events, events, 'no events without a mark');
  const pid = mustBePid(socketPath);
  await keeper[Symbol.asyncDispose]();
  await until('the keeper ends', () => startTimeOf(pid) === undefined);
  assert.equal(existsSync(socketPath), false);
});

test('keeper: one that is let go of can be asked nothing any more', { ...needs }, async () => {
  using scratch = temporaryDir('keeper');
  const socketPath = join(scratch.path, 'keeper.sock');
  for (const letGo of [
    (handle: KeeperHandle) => handle.release(),
    (handle: KeeperHandle) => handle[Symbol.asyncDispose](),
  ]) {
    const handle = new KeeperHandle({ socketPath });
    await handle.get();
    const pid = mustBePid(socketPath);
    const asked = handle.current?.state();
    await letGo(handle);
    assert.equal((await asked)?.pid, pid);
    assert.equal(handle.current, undefined);
  }
});

test('keeper: an error of the daemon is the reader’s', { ...needs }, async () => {
  using scratch = temporaryDir('keeper');
  await using keeper = await Keeper.start({ socketPath: join(scratch.path, 'keeper.sock') });
  for (const [error, text] of [
    [5, 'Input/output error'],
    [28, 'No space left on device'],
    [122, 'Disk quota exceeded'],
    [2, 'Input/output error'], // An errno that says nothing about a read.
  ] as const) {
    using device = testDevice({ directory: scratch.path, name: `device-${error}`, error });
    await keeper.addDevice(device);
    assert.match((await readChunk(device.path, 1)).said, new RegExp(text));
    await keeper.removeDevice(device.name);
  }
  assert.equal(keeper.journal.answeredDenied, 4);
});

test('keeper: the daemon’s own reads of what is missing fail at once', { ...needs }, async () => {
  using scratch = temporaryDir('keeper');
  await using keeper = await Keeper.start({ socketPath: join(scratch.path, 'keeper.sock') });
  using device = testDevice({ directory: scratch.path });
  await keeper.addDevice(device);
  await using file = await open(device.path);
  await assert.rejects(file.read(Buffer.alloc(16), 0, 16, 0), { code: 'EIO' });
  device.fill(0);
  assert.equal((await file.read(Buffer.alloc(16), 0, 16, 0)).bytesRead, 16);
  await keeper.removeDevice(device.name);
});

test('keeper: a killed daemon is started again, and readers get the right bytes', { ...needs }, async () => {
  using scratch = temporaryDir('keeper');
  const pids = () => readFileSync(join(scratch.path, 'pids'), 'utf8').trim().split('\n').map(Number);
  const first = spawn(process.execPath, [DAEMON, scratch.path, '30'], { stdio: ['ignore', 'ignore', 'inherit'] });
  await until('the daemon is ready', () => existsSync(join(scratch.path, 'pids')));
  const path = join(scratch.path, 'device.data');
  try {
    await assertReads(path, [0, 1]);
    for (let round = 1; round <= 5; round++) {
      const missing = [...Array(8).keys()].map((i) => round * 8 + i);
      const reading = assertReads(path, missing);
      await sleep(10 * round); // Before, while and after it is told of the events.
      process.kill(pids().at(-1) as number, 'SIGKILL');
      await assertReads(path, [0, 1]); // Without any daemon.
      await reading;
      await until('the next daemon is ready', () => pids().length > round);
    }
  } finally {
    await endAll(scratch.path);
    first.kill('SIGKILL');
  }
});

test('keeper: killed alone, another takes its place, and nobody reads what is not there', { ...needs }, async () => {
  using scratch = temporaryDir('keeper');
  const socketPath = join(scratch.path, 'keeper.sock');
  using device = testDevice({ directory: scratch.path, delayMs: 20 });
  const keeper = await Keeper.start({ socketPath });
  await keeper.addDevice(device);
  const file = openSync(device.path, 'r');
  await keeper.hold('a file', file, Buffer.from('state of it'));
  for (let round = 0; round < 6; round++) {
    const reading = assertReads(
      device.path,
      [...Array(8).keys()].map((i) => round * 8 + i),
    );
    await sleep(5 * round);
    process.kill(mustBePid(socketPath), 'SIGKILL');
    await reading;
    await until('the next keeper is there', () => keeper.journal.keepers === round + 2);
  }
  const [held, ...others] = await keeper.held();
  assert.deepEqual(others, []);
  assert.equal(held?.name, 'a file');
  assert.equal(Buffer.from(held.state).toString('latin1', 0, 11), 'state of it');
  assert.equal(fstatSync(held.fd).ino, fstatSync(file).ino);
  closeSync(held.fd);
  closeSync(file);
  await keeper.drop('a file');
  await keeper.removeDevice(device.name);
  await keeper[Symbol.asyncDispose]();
  await until('the keeper ends', () => keeperPid(socketPath) === undefined);
});

test('keeper: without daemon and command, what is missing is EIO, and it ends when it is told', {
  ...needs,
}, async () => {
  using scratch = temporaryDir('keeper');
  const socketPath = join(scratch.path, 'keeper.sock');
  using device = testDevice({ directory: scratch.path });
  device.fill(1);
  const keeper = await Keeper.start({ socketPath });
  await keeper.addDevice(device);
  await keeper.watch(device.name, '/');
  await assert.rejects(stopKeeper(socketPath), { code: 'KEEPER_REFUSED' });
  await keeper[Symbol.asyncDispose]();
  await assertReads(device.path, [1]);
  assert.match((await readChunk(device.path, 2)).said, /Input\/output error/);
  assert.equal(await stopKeeper(socketPath), true);
  await until('the keeper ends', () => keeperPid(socketPath) === undefined);
  assert.equal(await stopKeeper(socketPath), false);
});

test('keeper: without daemon and command it ends when the watched path is gone', { ...needs }, async () => {
  using scratch = temporaryDir('keeper');
  const socketPath = join(scratch.path, 'keeper.sock');
  using device = testDevice({ directory: scratch.path });
  const keeper = await Keeper.start({ socketPath });
  await keeper.addDevice(device);
  await keeper.watch(device.name, join(scratch.path, 'not there'));
  await keeper[Symbol.asyncDispose]();
  await until('the keeper ends', () => keeperPid(socketPath) === undefined);
});

test('keeper: what is added while a daemon lets go of what was before stays', { ...needs }, async () => {
  using scratch = temporaryDir('keeper');
  const socketPath = join(scratch.path, 'keeper.sock');
  const held = openSync('/dev/null', 'r');
  for (let round = 0; round < 8; round++) {
    // A daemon before, which left something.
    const first = await Keeper.start({ socketPath });
    await first.hold('something', held);
    await first[Symbol.asyncDispose]();
    await using keeper = await Keeper.start({ socketPath });
    using device = testDevice({ directory: scratch.path, name: `device-${round}` });
    const adding = keeper.addDevice(device);
    for (let turn = 0; turn < round; turn++) await new Promise((resolve) => setImmediate(resolve));
    await Promise.all([adding, keeper.removeOtherDevices()]);
    await assertReads(device.path, [5]);
    assert.deepEqual(device.filled, [5]);
    await keeper.removeDevice(device.name);
  }
  closeSync(held);
  assert.equal(await stopKeeper(socketPath), true);
});

test('keeper: nonsense on its socket harms nobody', { ...needs }, async () => {
  using scratch = temporaryDir('keeper');
  const socketPath = join(scratch.path, 'keeper.sock');
  using device = testDevice({ directory: scratch.path });
  await using keeper = await Keeper.start({ socketPath });
  await keeper.addDevice(device);
  const pid = mustBePid(socketPath);
  const descriptors = () => readdirSync(`/proc/${pid}/fd`).length;
  const before = descriptors();
  const file = openSync('/dev/null', 'r');
  for (let kind = 0; kind < 16; kind++) {
    for (const size of [4, keeperMessage.size - 1, keeperMessage.size, keeperMessage.size + 1]) {
      const socket = connectPackets(socketPath, 60_000) as number;
      const bytes = Buffer.alloc(size, 0xff);
      bytes.writeUInt32LE(kind, 0);
      if (kind === KEEPER_CALLS.stop) bytes.fill(0, 4); // All ones would be a wish that is granted to the last.
      sendDescriptors(socket, bytes, Array<number>(kind % 6).fill(file));
      // Everything but a packet of the right size ends the connection; the rest is refused, or has no answer.
      if (kind !== KEEPER_CALLS.answer) {
        const { bytes: answer, descriptors: sent } = await receiveDescriptors(socket, {
          sizeMax: 512,
          timeoutMs: 60_000,
        });
        assert.deepEqual(sent, []);
        if (size !== keeperMessage.size) assert.equal(answer.length, 0);
        // What it knows of itself it tells anybody.
        else if (answer.length > 0 && kind !== KEEPER_CALLS.report) {
          assert.notEqual(keeperMessage.read(viewOf(answer), 0).status, 0);
        }
      }
      closeSync(socket);
    }
  }
  closeSync(file);
  await until('every descriptor is closed', () => descriptors() === before);
  assert.equal(mustBePid(socketPath), pid);
  await assertReads(device.path, [0, CHUNKS - 1]);
  await keeper.removeDevice(device.name);
});
