// The keeper as its daemon has it: devices whose events it keeps, descriptors it holds, readers that wait. Should the keeper
// die, this process holds group and journal still, so that no read is let through, and starts the next one.
import { closeSync, fstatSync, read } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { signalProcess } from '../base/child-process.ts';
import { hasCode, NaiadError } from '../base/errors.ts';
import { KEEPER_STATE_SIZE, type KeeperJournalHeader } from '../format/keeper/records.ts';
import { closeDescriptors, duplicateOver, memoryFile } from '../native/descriptors.ts';
import {
  type Attached,
  attach,
  CONNECT_PAUSE_MS,
  detach,
  hello,
  type KeeperOptions,
  reportOf,
  START_WAIT_MS,
  sendCommand,
} from './attached.ts';
import { KeeperChannel, keeperLost } from './channel.ts';
import { type PendingEvent, pendingEvents, readJournalHeader } from './journal.ts';
import { spawnKeeper } from './spawn.ts';
import { knowsRange, type WatchedRange } from './starts.ts';

export interface WatchedDevice {
  /** Unique, at most 63 bytes; a device of the same name is replaced. */
  readonly name: string;
  /** Open for reading and writing; stays the caller's, who keeps it open until the device is removed. It becomes a
   *  descriptor that raises no events. */
  readonly dataFd: number;
  readonly mapFd: number;
  /** Where the ready bits start in the map. */
  readonly bitsOffset: number;
  /** Where each chunk starts, ascending; KEEPER_ABSENT_CHUNK where nothing is known of it. */
  readonly starts: BigUint64Array;
  readonly size: number;
  /** Makes the range present: 0, or the errno for the reader. Never rejects. */
  readonly onRead: (range: WatchedRange) => Promise<number>;
  /** Makes all of the device present. @throws when that fails. */
  readonly complete: () => Promise<void>;
}

export interface HeldDescriptor {
  readonly name: string;
  readonly state: Uint8Array;
  /** The caller's to close. */
  readonly fd: number;
}

export interface KeeperState {
  readonly pid: number;
  /** Those that go once nobody can read them any more included. */
  readonly devices: number;
  readonly held: number;
  /** Readers that wait for an answer. */
  readonly waiting: number;
  /** It does not answer: another one takes its place within seconds. */
  readonly hangs?: true;
}

interface Registered {
  readonly device: WatchedDevice;
  readonly key: string;
  id: number;
  path: string | undefined;
}

/** How long the daemon that a keeper has may take to die. */
const BUSY_WAIT_MS = 10_000;
const BUSY_PAUSE_MS = 20;
/** A keeper that does not answer, and is not dead by then, hangs. */
const DYING_MS = 1000;
/** How often a keeper that nobody calls is asked whether it is well: one that hangs answers no reader. */
const ASK_INTERVAL_MS = 2000;
/** Whoever wants to know about the keeper does not wait longer for what it says itself. */
const STATE_WAIT_MS = 1000;
/** Keepers that may die one after another in the middle of one call. */
const CALL_ATTEMPTS_MAX = 10;
/** Readers that a keeper may have lost wait for the whole device; a failure is tried again this often. */
const COMPLETE_ATTEMPTS_MAX = 3;
const readAsync = promisify(read);

export class Keeper implements AsyncDisposable {
  readonly #options: KeeperOptions;
  readonly #devices = new Map<string, Registered>();
  readonly #held = new Map<string, { fd: number; state: Uint8Array }>();
  /** Files of devices that are just being added, by the device's name: the keeper may know of them already. */
  readonly #adding = new Map<string, string>();
  /** Events that are worked on, or answered and still in the journal, by index and sequence. */
  readonly #working = new Set<string>();
  readonly #asking = setInterval(() => void this.#ask(), ASK_INTERVAL_MS).unref();
  #asked = false;
  #attached: Attached;
  #leaving = false;
  /** False while devices of a daemon before this one may be added again: then events of unknown files wait. */
  #settled: boolean;
  /** Ends when the keeper that took the place of a dead one knows all that it must. Never rejects. */
  #ready: Promise<void> = Promise.resolve();

  private constructor(options: KeeperOptions, attached: Attached, settled: boolean) {
    this.#options = options;
    this.#settled = settled;
    this.#attached = attached;
    this.#listen(attached);
  }

  /** Connects to the keeper that listens there, or starts one. @throws NaiadError KEEPER_LOST, KEEPER_REFUSED, … */
  static async start(options: KeeperOptions): Promise<Keeper> {
    for (const end = Date.now() + START_WAIT_MS; ; await sleep(CONNECT_PAUSE_MS)) {
      const connected = await Keeper.connect(options);
      if (connected) return connected;
      const child = spawnKeeper(options);
      try {
        return new Keeper(options, await attach(options, child), true);
      } catch (error) {
        // Another one is just starting, or ending.
        if (!child.taken() || Date.now() >= end) throw error;
      }
    }
  }

  /** The keeper that listens there, as its daemon; undefined when there is none. @throws NaiadError KEEPER_REFUSED when
   *  it has a daemon; KEEPER_HUNG, KEEPER_VERSION. */
  static async connect(options: KeeperOptions): Promise<Keeper | undefined> {
    for (const end = Date.now() + BUSY_WAIT_MS; ; await sleep(BUSY_PAUSE_MS)) {
      const channel = KeeperChannel.connect(options.socketPath);
      if (!channel) return undefined;
      try {
        return new Keeper(options, await hello(channel, options), false);
      } catch (error) {
        if (hasCode(error, 'KEEPER_LOST')) return undefined; // It was just ending.
        // The daemon before this one may be just dying.
        if (!hasCode(error, 'KEEPER_REFUSED') || Date.now() >= end) throw error;
      }
    }
  }

  /** What the journal says; of every keeper that had it. */
  get journal(): KeeperJournalHeader {
    return readJournalHeader(this.#attached.journal);
  }

  /** Readers that wait now. */
  get waiting(): number {
    return pendingEvents(this.#attached.journal).length;
  }

  /** What the keeper is and has, as far as this process knows where it does not answer at once. */
  async state(): Promise<KeeperState> {
    const { pid, channel } = this.#attached;
    const known = { pid, devices: this.#devices.size, held: this.#held.size, waiting: this.waiting };
    const late = sleep(STATE_WAIT_MS, 'late' as const, { ref: false });
    const answer = await Promise.race([reportOf(channel).catch(() => undefined), late]);
    if (answer === 'late') return { ...known, hangs: true };
    return answer ? { pid, devices: answer.devices, held: answer.held, waiting: answer.waiting } : known;
  }

  /** Has the keeper start the next daemon with other words. False when it is one of before that was possible. */
  async setCommand(command: readonly string[]): Promise<boolean> {
    return await this.#persist(() => sendCommand(this.#attached.channel, command));
  }

  /** Watches a device: from now on a read of it waits until its range is ready. */
  async addDevice(device: WatchedDevice): Promise<void> {
    const { dev, ino } = fstatSync(device.dataFd, { bigint: true });
    const key = `${dev}:${ino}`;
    this.#adding.set(device.name, key);
    try {
      const id = await this.#persist(() => this.#register(device));
      this.#devices.set(device.name, { device, id, key, path: undefined });
    } finally {
      this.#adding.delete(device.name);
    }
    this.#takeEvents();
  }

  /** Watches it no longer, with `whenGone` from the moment that its path is gone. Until then, and for readers that wait, what
   *  is not ready is EIO. */
  async removeDevice(name: string, options: { readonly whenGone?: boolean } = {}): Promise<void> {
    const entry = this.#devices.get(name);
    if (!entry) return;
    await this.#persist(() =>
      this.#attached.channel.demand('removeDevice', { id: entry.id, error: options.whenGone ? 1 : 0 }),
    );
    this.#devices.delete(name);
  }

  /** Says which path exists as long as the device may be read: should no daemon be left, the keeper ends with it. */
  async watch(name: string, path: string): Promise<void> {
    const entry = this.#devices.get(name);
    if (!entry) return;
    entry.path = path;
    await this.#persist(() =>
      this.#attached.channel.demand('watch', { id: entry.id, state: padded(Buffer.from(path)) }),
    );
  }

  /** Called once every device of a daemon before this one was added again: the rest, of mounts that are gone or go, is left. */
  async removeOtherDevices(): Promise<void> {
    if (this.#settled) return;
    this.#settled = true;
    this.#takeEvents();
    // That one may have died before it could answer what a keeper had read and not recorded.
    if (this.journal.unrecorded) this.#answerUnrecorded().catch(warn);
    for (const [name, id] of await this.devices()) {
      // One that got complete meanwhile may be gone.
      if (!this.#devices.has(name) && !this.#adding.has(name))
        await this.#persist(() => this.#attached.channel.call('removeDevice', { id, error: 1 }));
    }
  }

  /** Ids by name of all devices that the keeper watches, those of a daemon before this one included. */
  async devices(): Promise<Map<string, number>> {
    const found = new Map<string, number>();
    for (let id = 0; ; id++) {
      const answer = await this.#persist(() => this.#attached.channel.call('listDevices', { id }));
      if (answer.errno !== undefined) return found;
      id = answer.id;
      found.set(answer.name, id);
    }
  }

  /** Keeps a copy of `fd` beyond this process. The caller leaves `fd` open until it is dropped. */
  async hold(name: string, fd: number, state: Uint8Array = new Uint8Array(0)): Promise<void> {
    const kept = { fd, state: padded(state) };
    this.#held.set(name, kept);
    await this.#persist(() => this.#attached.channel.demand('hold', { name, state: kept.state }, [fd]));
  }

  /** What a daemon before this one, or this one, had it hold. */
  async held(): Promise<HeldDescriptor[]> {
    await this.#ready;
    const found: HeldDescriptor[] = [];
    for (let id = 0; ; id++) {
      const answer = await this.#attached.channel.call('listHeld', { id });
      const [fd] = answer.descriptors;
      if (answer.errno !== undefined || fd === undefined) return found;
      found.push({ name: answer.name, state: answer.state, fd });
      id = answer.id;
    }
  }

  /** Holds it no longer; no error when it did not. */
  async drop(name: string): Promise<void> {
    this.#held.delete(name);
    await this.#persist(() => this.#attached.channel.call('drop', { name }));
  }

  /** Leaves everything as it is to the next daemon, which the keeper starts. */
  async release(): Promise<void> {
    this.#leave();
    await this.#ready;
    detach(this.#attached);
  }

  /** Ends the keeper. Where mounts are left that processes still use, it stays without any daemon until they are gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#leaving) return;
    this.#leave();
    await this.#ready;
    const { channel, pid } = this.#attached;
    await channel.call('stop').catch((error) => {
      // It may be gone already. One that was stopped finds the call when it goes on.
      if (hasCode(error, 'KEEPER_HUNG')) signalProcess(pid, 'SIGCONT');
    });
    detach(this.#attached);
  }

  #leave(): void {
    this.#leaving = true;
    clearInterval(this.#asking);
  }

  /** Ends a keeper that does not answer, so that another one can take its place. */
  async #ask(): Promise<void> {
    if (this.#asked || this.#leaving) return;
    this.#asked = true;
    try {
      await this.#ready;
      const attached = this.#attached;
      await attached.channel.call('report').catch(async (error) => {
        if (isAway(error) && !this.#leaving) await this.#end(attached);
      });
    } finally {
      this.#asked = false;
    }
  }

  /** Adds the device to the keeper, and sees that `dataFd` raises no events. */
  async #register(device: WatchedDevice): Promise<number> {
    const attached = this.#attached;
    const { channel } = attached;
    const { name, dataFd, mapFd, bitsOffset, starts, size } = device;
    const table = memoryFile(new Uint8Array(starts.buffer, starts.byteOffset, starts.byteLength));
    const fields = { name, bitsOffset, deviceSize: size, chunkCount: starts.length };
    const added = await channel.demand('addDevice', fields, [dataFd, mapFd, table]).finally(() => closeSync(table));
    takeQuiet(added.descriptors, dataFd);
    if (added.descriptors.length > 0) return added.id;
    try {
      await this.#probe(attached, added.id, dataFd);
    } catch (error) {
      if (!isAway(error)) await channel.call('removeDevice', { id: added.id });
      throw error;
    }
    return added.id;
  }

  /** One read through the descriptor itself shows whether it raises events. If so, the event brings one that does not. */
  async #probe(attached: Attached, id: number, dataFd: number): Promise<void> {
    await attached.channel.demand('probeBegin', { id });
    await readAsync(dataFd, new Uint8Array(1), 0, 1, 0).catch((error) => {
      // With a keeper that died in the middle of it: the next one knows of no probe.
      throw this.#attached === attached ? error : keeperLost(error);
    });
    const probed = await attached.channel.demand('probeEnd', { id });
    takeQuiet(probed.descriptors, dataFd);
  }

  #listen(attached: Attached): void {
    attached.wake.on('data', () => this.#takeEvents());
    attached.wake.on('close', () => {
      if (this.#leaving || this.#attached !== attached) return;
      this.#ready = this.#succeed(attached).catch(async (error) => {
        if (!isAway(error)) return warn(error);
        // The successor died as well, and has one of its own.
        if (this.#attached !== attached && !this.#leaving) await this.#end(this.#attached);
      });
    });
  }

  #takeEvents(): void {
    const pending = new Map(
      pendingEvents(this.#attached.journal).map((event) => [`${event.index}:${event.sequence}`, event]),
    );
    for (const key of this.#working) if (!pending.has(key)) this.#working.delete(key);
    for (const [key, event] of pending) {
      if (this.#working.has(key)) continue;
      const device = this.#deviceOf(event);
      if (!device && this.#mayCome(event)) continue;
      this.#working.add(key);
      this.#work(event, device).catch(warn);
    }
  }

  /** True when the event's device may be one that is yet to be added. Reads of this process itself must never wait for it. */
  #mayCome(event: PendingEvent): boolean {
    if (event.pid === process.pid) return false;
    return !this.#settled || [...this.#adding.values()].includes(keyOf(event));
  }

  /** Of several devices in one file, the one that knows the range. */
  #deviceOf(event: PendingEvent): WatchedDevice | undefined {
    const key = keyOf(event);
    const found = [...this.#devices.values()].filter((entry) => entry.key === key).map(({ device }) => device);
    return found.find((device) => knowsRange(device.starts, rangeOf(event, device))) ?? found[0];
  }

  async #work(event: PendingEvent, device: WatchedDevice | undefined): Promise<void> {
    let error = EIO;
    if (device) {
      const range = rangeOf(event, device);
      if (knowsRange(device.starts, range)) error = await device.onRead(range);
    }
    try {
      this.#attached.channel.send('answer', { id: event.index, sequence: event.sequence, error });
    } catch (problem) {
      if (!isAway(problem)) throw problem; // The next keeper finds the event in the journal.
    }
  }

  /** Resolves when the keeper is dead: one that does not answer and lives is ended, for two must never share a group. */
  async #end(attached: Attached): Promise<void> {
    const hangs = await Promise.race([attached.gone, sleep(DYING_MS, 'hangs' as const, { ref: false })]);
    if (!hangs) return;
    warn(new NaiadError('KEEPER_HUNG', `the keeper (process ${attached.pid}) does not answer and is killed`));
    signalProcess(attached.pid, 'SIGKILL'); // It has its end of our connection still, so it is this process.
    await attached.gone;
  }

  /** The keeper is dead: starts another one with its group and journal, and tells it all that this process knows. */
  async #succeed(dead: Attached): Promise<void> {
    dead.channel[Symbol.dispose]();
    const { group, journal } = dead;
    this.#attached = await this.#startSuccessor({ group, journal });
    closeDescriptors([group, journal]);
    this.#listen(this.#attached);
    const { channel } = this.#attached;
    for (const entry of this.#devices.values()) {
      entry.id = await this.#register(entry.device);
      if (entry.path === undefined) continue;
      await channel.demand('watch', { id: entry.id, state: padded(Buffer.from(entry.path)) });
    }
    for (const [name, { fd, state }] of this.#held) await channel.demand('hold', { name, state }, [fd]);
    this.#working.clear(); // What was answered to the dead keeper may never have reached its reader.
    this.#takeEvents();
    if (this.journal.unrecorded && this.#settled) this.#answerUnrecorded().catch(warn);
  }

  /** Readers wait for it, so it does not give up. */
  async #startSuccessor(inherited: { group: number; journal: number }): Promise<Attached> {
    for (let pauseMs = 100; ; pauseMs = Math.min(2 * pauseMs, 5000)) {
      try {
        return await attach(this.#options, spawnKeeper(this.#options, inherited));
      } catch (error) {
        if (this.#leaving) throw error;
        warn(error);
        await sleep(pauseMs);
      }
    }
  }

  /** A call in whose middle the keeper died is made again with the next one. */
  async #persist<T>(call: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      await this.#ready;
      const attached = this.#attached;
      try {
        return await call();
      } catch (error) {
        if (!isAway(error) || this.#leaving || attempt === CALL_ATTEMPTS_MAX) throw error;
        await this.#end(attached);
      }
    }
  }

  /** Of events that were read and not recorded nobody knows the range: they are answered once everything is there. */
  async #answerUnrecorded(): Promise<void> {
    let error = EIO;
    for (let attempt = 0; attempt < COMPLETE_ATTEMPTS_MAX && error !== 0; attempt++) {
      const all = [...this.#devices.values()].map(({ device }) => device.complete());
      error = (await Promise.allSettled(all)).every(({ status }) => status === 'fulfilled') ? 0 : EIO;
    }
    await this.#persist(() => this.#attached.channel.demand('sweep', { error }));
  }
}

const EIO = 5;

/** True when it is up to another keeper to go on. */
function isAway(error: unknown): boolean {
  return hasCode(error, 'KEEPER_LOST') || hasCode(error, 'KEEPER_HUNG');
}

function warn(error: unknown): void {
  process.emitWarning(error instanceof Error ? error : String(error));
}

/** Makes `dataFd` the descriptor that raises no events, if one came. */
function takeQuiet(descriptors: readonly number[], dataFd: number): void {
  const [quiet] = descriptors;
  if (quiet !== undefined) duplicateOver(quiet, dataFd);
  closeDescriptors(descriptors);
}

function padded(state: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(KEEPER_STATE_SIZE);
  bytes.set(state);
  return bytes;
}

function keyOf({ fileDevice, fileInode }: PendingEvent): string {
  return `${fileDevice}:${fileInode}`;
}

function rangeOf(event: PendingEvent, device: WatchedDevice): WatchedRange {
  const end = Math.min(Number(BigInt(event.offset) + event.count), device.size);
  return { offset: event.offset, size: Math.max(0, end - event.offset) };
}
