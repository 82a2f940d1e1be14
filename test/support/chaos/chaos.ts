// Readers that compare every byte of a mount with the truth, while the processes behind it are killed at random instants.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NaiadHome } from '../naiad.ts';

/** `both`: daemon and keeper in the same instant. `upgrade`: nothing is killed, the daemon is replaced. */
export type Victim = 'daemon' | 'keeper' | 'both' | 'upgrade';

export interface ChaosOptions {
  readonly naiad: NaiadHome;
  /** A directory with the tree that is mounted. */
  readonly truth: string;
  readonly mountpoint: string;
  readonly victim: Victim;
  readonly times: number;
  /** Instants and places follow from it, as far as the machine lets them. */
  readonly seed: number;
  /** Called after each time, before it is waited for what was killed to be back. */
  readonly afterwards?: () => Promise<void>;
}

export interface ChaosReport {
  readonly times: number;
  readonly operations: number;
  readonly bytes: number;
  readonly wrong: readonly string[];
  /** Counts by name of the errno. */
  readonly errors: Readonly<Record<string, number>>;
  /** Of one operation. */
  readonly longestMs: number;
}

const READERS = 4;
/** Long enough that some strikes meet a daemon that serves, and some one that is starting. */
const PAUSE_MAX_MS = 2000;
const BACK_MAX_MS = 60_000;
const READER = join('test', 'support', 'chaos', 'reader.py');
/** Command lines: the daemon changes its own once it runs, the keeper has the one of the daemon that it starts in its own. */
const PROGRAMS = { daemon: /^(?!.*naiad-keeper).*\/cli\/daemon\.js|^naiad daemon /, keeper: /naiad-keeper/ } as const;

/** @throws Error when what was killed does not come back, or a reader ends by itself. */
export async function chaos(options: ChaosOptions): Promise<ChaosReport> {
  const random = generator(options.seed);
  const readers = Array.from({ length: READERS }, (_, index) => startReader(options, options.seed * 100 + index));
  try {
    for (let time = 0; time < options.times; time++) {
      await sleep(random() * PAUSE_MAX_MS);
      await strike(options);
    }
    // What the last one held up is waited for.
    await sleep(PAUSE_MAX_MS);
  } finally {
    for (const { child } of readers) child.stdin.end('\n');
  }
  const told = await Promise.all(readers.map(({ told }) => told));
  const errors: Record<string, number> = {};
  for (const each of told) {
    for (const [name, count] of Object.entries(each.errors)) errors[name] = (errors[name] ?? 0) + count;
  }
  const sum = (pick: (each: ReaderReport) => number) => told.reduce((total, each) => total + pick(each), 0);
  return {
    times: options.times,
    operations: sum(({ operations }) => operations),
    bytes: sum(({ bytes }) => bytes),
    wrong: told.flatMap(({ wrong }) => wrong),
    errors,
    longestMs: Math.max(...told.map(({ longestMs }) => longestMs)),
  };
}

async function strike({ naiad, victim, afterwards }: ChaosOptions): Promise<void> {
  const killed = victim === 'both' ? (['daemon', 'keeper'] as const) : victim === 'upgrade' ? [] : [victim];
  const before = new Map<keyof typeof PROGRAMS, number>();
  for (const name of killed) before.set(name, await present(name, naiad.state));
  // All at once: nothing is awaited in between, and neither sees the other one die.
  for (const signal of ['SIGSTOP', 'SIGKILL'] as const) for (const pid of before.values()) process.kill(pid, signal);
  if (victim === 'upgrade') await naiad.run(['daemon', 'upgrade']);
  await afterwards?.();
  for (const [name, pid] of before) await present(name, naiad.state, pid);
}

/** Waits for it, also where it is between two programs at this instant; for another one than `before`. */
async function present(name: keyof typeof PROGRAMS, state: string, before?: number): Promise<number> {
  for (const end = Date.now() + BACK_MAX_MS; Date.now() < end; await sleep(5)) {
    const now = processOf(name, state);
    if (now !== undefined && now !== before) return now;
  }
  throw new Error(
    `there is no ${name} within ${BACK_MAX_MS} ms${before === undefined ? '' : `, after ${before} was killed`}`,
  );
}

/** The pid of the living daemon or keeper of a state directory, which its command line names. */
export function processOf(name: keyof typeof PROGRAMS, state: string): number | undefined {
  for (const pid of readdirSync('/proc').filter((each) => /^\d+$/.test(each))) {
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, 'latin1');
      // One that was killed has no command line any more.
      if (PROGRAMS[name].test(line) && line.includes(state)) return Number(pid);
    } catch {
      // It ended meanwhile.
    }
  }
  return undefined;
}

interface ReaderReport {
  readonly operations: number;
  readonly bytes: number;
  readonly wrong: readonly string[];
  readonly errors: Readonly<Record<string, number>>;
  readonly longestMs: number;
}

function startReader({ truth, mountpoint }: ChaosOptions, seed: number) {
  const child = spawn('python3', ['-B', READER, truth, mountpoint, `${seed}`], { stdio: ['pipe', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    text += piece;
  });
  child.stdin.on('error', () => {}); // It may have ended.
  const told = once(child, 'close').then(([code, signal]) => {
    if (code !== 0) throw new Error(`a reader ended with ${signal ?? code}`);
    return JSON.parse(text) as ReaderReport;
  });
  told.catch(() => {}); // Awaited at the end.
  return { child, told };
}

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
