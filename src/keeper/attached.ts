// A keeper that this process is the daemon of, from hello to goodbye, and what a keeper tells anybody.
import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { hasCode, NaiadError } from '../base/errors.ts';
import { KEEPER_VERSION, type KeeperReport, keeperReport } from '../format/keeper/records.ts';
import { viewOf } from '../format/record.ts';
import { closeDescriptors, memoryFile } from '../native/descriptors.ts';
import { granted, KeeperChannel } from './channel.ts';
import { readJournalHeader } from './journal.ts';
import type { KeeperProcess } from './spawn.ts';

export interface KeeperOptions {
  readonly socketPath: string;
  /** Starts the daemon again when it is gone; without it, readers of what is missing get EIO then. */
  readonly command?: readonly string[];
}

export interface Attached {
  /** The keeper's. */
  readonly pid: number;
  readonly channel: KeeperChannel;
  readonly group: number;
  readonly journal: number;
  readonly wake: Socket;
  /** Resolves once the keeper is dead, or this process has left it. */
  readonly gone: Promise<void>;
}

/** How long a keeper that was just started is waited for. */
export const START_WAIT_MS = 30_000;
export const CONNECT_PAUSE_MS = 5;

/** Says hello to the keeper that was just started, as soon as it listens; it is killed when that fails, for it has the place
 *  of any other. @throws NaiadError KEEPER_LOST, KEEPER_HUNG */
export async function attach(options: KeeperOptions, child: KeeperProcess): Promise<Attached> {
  try {
    for (const end = Date.now() + START_WAIT_MS; Date.now() < end; await sleep(CONNECT_PAUSE_MS)) {
      const problem = child.problem();
      if (problem) throw problem;
      const channel = KeeperChannel.connect(options.socketPath);
      // One that is dying still has its socket.
      if (channel && channel.pid === child.pid) return await hello(channel, options);
      channel?.[Symbol.dispose]();
    }
    throw new NaiadError('KEEPER_LOST', `the keeper does not listen at ${options.socketPath}`);
  } catch (error) {
    child.kill();
    throw error;
  }
}

/** Becomes the daemon of the keeper behind `channel`, which is closed when that fails. @throws NaiadError KEEPER_REFUSED, KEEPER_LOST, … */
export async function hello(channel: KeeperChannel, { command }: KeeperOptions): Promise<Attached> {
  try {
    const answer = await channel.call('hello');
    if (answer.errno === 'EPROTO')
      requireVersion({ pid: channel.pid, version: (await reportOf(channel))?.version ?? 0 });
    const { id: pid, descriptors } = granted('hello', answer);
    const [group, journal, wakeEnd] = descriptors as [number, number, number];
    readJournalHeader(journal);
    // One that dies now has this process, which has its group and journal, to start the next one with the command.
    if (command) await sendCommand(channel, command).catch(unlessLost);
    const wake = new Socket({ fd: wakeEnd, readable: true, writable: false });
    wake.on('error', () => undefined); // Followed by "close".
    const gone = new Promise<void>((resolve) => wake.once('close', () => resolve()));
    return { pid, channel, group, journal, wake, gone };
  } catch (error) {
    channel[Symbol.dispose]();
    throw error;
  }
}

function unlessLost(error: unknown): void {
  if (!hasCode(error, 'KEEPER_LOST')) throw error;
}

/** False when the keeper is one of before that was possible. */
export async function sendCommand(channel: KeeperChannel, command: readonly string[]): Promise<boolean> {
  const words = memoryFile(Buffer.from(command.map((word) => `${word}\0`).join('')));
  try {
    return (await channel.call('command', {}, [words])).errno === undefined;
  } finally {
    closeSync(words);
  }
}

/** Lets go of everything; what the keeper holds stays with it. */
export function detach({ channel, group, journal, wake }: Attached): void {
  wake.destroy();
  channel[Symbol.dispose]();
  closeDescriptors([group, journal]);
}

/** What a keeper tells anybody. */
export interface KeeperFacts extends KeeperReport {
  /** Of what it speaks. */
  readonly version: number;
}

/** What the keeper tells anybody: is there a daemon, and will there be one. Undefined when there is no keeper, or one that
 *  does not tell. @throws NaiadError KEEPER_LOST when it ends at this moment; KEEPER_HUNG. */
export async function askKeeper(socketPath: string): Promise<KeeperFacts | undefined> {
  using channel = KeeperChannel.connect(socketPath);
  return channel && (await reportOf(channel));
}

/** As `askKeeper`, of a keeper that is connected to. */
export async function reportOf(channel: KeeperChannel): Promise<KeeperFacts | undefined> {
  const { errno, state, version } = await channel.call('report');
  return errno === undefined ? { ...keeperReport.read(viewOf(state), 0), version } : undefined;
}

/** @throws NaiadError KEEPER_VERSION when a keeper of that version cannot have this process as its daemon. */
export function requireVersion({ pid, version }: { readonly pid: number; readonly version: number }): void {
  if (version === KEEPER_VERSION) return;
  throw new NaiadError(
    'KEEPER_VERSION',
    `the keeper (process ${pid}) is of another version of naiad: it speaks version ${version}, not ${KEEPER_VERSION}`,
    { hint: 'What it has mounted must be unmounted first: naiad umount --all; it ends by itself then.' },
  );
}
