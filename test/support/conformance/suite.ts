// The conformance suite as a library: what a mounted image must answer, whoever mounted it.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** Checks of probe.py. Those that read come first, while nothing is cached yet. */
export const CHECKS = [
  ...['random reads', 'concurrent readers', 'randomized', 'mmap', 'O_DIRECT', 'holes', 'copy_file_range', 'execve'],
  ...['readdir', 'names', 'deep paths', 'hard links', 'xattrs', 'other users', 'set-user-ID', 'statfs', 'writes'],
] as const;
export type Check = (typeof CHECKS)[number];

const PROBE = join('test', 'support', 'conformance', 'probe.py');
/** A check that takes longer waits for ever. */
const CHECK_TIMEOUT_MS = 300_000;

export interface ProbeOptions {
  /** A directory that holds the same tree. */
  readonly truth: string;
  readonly mountpoint: string;
  /** What is chosen at random follows from it. */
  readonly seed: number;
}

/** What a check answers. */
interface Answer {
  readonly complaints: readonly string[];
  readonly said: string;
}

/** Checks of one mount, one at a time, by one process: it goes through the truth once. */
export class Probe implements AsyncDisposable {
  readonly #options: ProbeOptions;
  #running: { readonly child: ChildProcess; readonly lines: AsyncIterator<string> } | undefined;

  constructor(options: ProbeOptions) {
    this.#options = options;
  }

  /** What the check has to tell when it holds. @throws Error with the differences, and how to see them again. */
  async holds(check: Check): Promise<string> {
    this.#running ??= this.#start();
    const { child, lines } = this.#running;
    const timeout = setTimeout(() => child.kill('SIGKILL'), CHECK_TIMEOUT_MS);
    child.stdin?.write(`${check}\n`);
    const { value } = (await lines.next().finally(() => clearTimeout(timeout))) as { readonly value?: string };
    const { seed } = this.#options;
    if (value === undefined) {
      this.#running = undefined; // The next check has another one.
      throw new Error(`seed ${seed}: ${check} did not end: ${child.signalCode ?? child.exitCode}`);
    }
    const { complaints, said } = JSON.parse(value) as Answer;
    if (complaints.length > 0) throw new Error(`seed ${seed}: ${check} does not hold:\n${complaints.join('\n')}`);
    return said;
  }

  #start() {
    const { truth, mountpoint, seed } = this.#options;
    const child = spawn('python3', ['-B', PROBE, truth, mountpoint, `${seed}`], { stdio: ['pipe', 'pipe', 'inherit'] });
    child.stdin.on('error', () => {}); // It may have ended.
    return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#running?.child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'close');
    child.stdin?.end();
    await ended;
  }
}

/** SEED, or one that no run had before. */
export function chooseSeed(): number {
  return Number(process.env.SEED ?? Date.now() % 1_000_000);
}
