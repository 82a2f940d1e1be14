// A container in the foreground: stdio passed through, signals passed on, its exit code ours.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemError } from '../base/system-error.ts';

const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const;
type Forwarded = (typeof FORWARDED)[number];
const FROM_TERMINALS: readonly Forwarded[] = ['SIGINT', 'SIGQUIT', 'SIGHUP'];
/** Who asks that often means it, whatever the container makes of it. */
const STOPS_UNTIL_KILL = 3;

export interface SuperviseOptions {
  readonly runtime: string;
  /** Arguments of a `run` in the foreground that writes the container's first process to `pidFile`. */
  readonly args: readonly string[];
  readonly pidFile: string;
  readonly tty: boolean;
  /** Gets what it prints, in place of this process' own output; then it has no input either. */
  readonly output?: ((bytes: Uint8Array) => void) | undefined;
  /** Kills it. */
  readonly stop?: AbortSignal | undefined;
  /** Called once the runtime has started the container. */
  readonly onStarted: () => void;
}

/**
 * Runs the container and returns its exit code, 128 + n when signal n ended it. While it runs, signals to this process
 * go to the container instead of to whoever listened here.
 */
export async function supervise(options: SuperviseOptions): Promise<number> {
  const child = start(options);
  let ended = false;
  const exited = new Promise<number>((resolve, reject) => {
    child.once('error', (error) => reject(systemError(error, options.runtime)));
    child.once('exit', (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
  }).finally(() => {
    ended = true;
  });
  let killedBy: Forwarded | undefined;
  let stops = 0;
  const restore = takeSignals((signal) => {
    if (signal === 'SIGINT' || signal === 'SIGTERM') stops++;
    deliver(options.pidFile, signal, stops >= STOPS_UNTIL_KILL, () => ended).then(
      (killed) => {
        if (killed) killedBy ??= signal;
      },
      () => undefined, // It was ending already.
    );
  });
  watchStart(options, () => ended).catch(() => undefined);
  const kill = () => {
    killContainer(options.pidFile, () => ended).catch(() => undefined); // It was ending already.
  };
  options.stop?.addEventListener('abort', kill, { once: true });
  if (options.stop?.aborted) kill();
  try {
    const code = await exited;
    return killedBy ? 128 + constants.signals[killedBy] : code;
  } finally {
    options.stop?.removeEventListener('abort', kill);
    restore();
  }
}

function start({ runtime, args, tty, output }: SuperviseOptions): ChildProcess {
  // In a group of its own, the runtime does not get Ctrl-C as well; on a terminal of its own there is no such signal.
  if (!output) return spawn(runtime, args, { stdio: 'inherit', detached: !tty });
  const child = spawn(runtime, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  for (const stream of [child.stdout, child.stderr]) stream.on('data', output);
  return child;
}

/** Replaces the listeners of all forwarded signals, and returns what puts them back. */
function takeSignals(listener: (signal: Forwarded) => void): () => void {
  const before = FORWARDED.map((signal) => [signal, process.rawListeners(signal)] as const);
  for (const signal of FORWARDED) {
    process.removeAllListeners(signal);
    process.on(signal, () => listener(signal));
  }
  return () => {
    for (const [signal, listeners] of before) {
      process.removeAllListeners(signal);
      for (const one of listeners) process.on(signal, one as () => void);
    }
  };
}

/**
 * Sends `signal` to the container as it would arrive without one: what a terminal sends goes to the whole process group,
 * the rest to the first process. The kernel lets that one ignore what it has no handler for, as the first of its
 * namespace; elsewhere it would have died, so here it does. True when it was killed, for that or because of `force`.
 */
async function deliver(pidFile: string, signal: Forwarded, force: boolean, ended: () => boolean): Promise<boolean> {
  const pid = await firstProcess(pidFile, ended);
  if (pid === undefined || ended()) return false;
  const handled = handles(pid, constants.signals[signal]);
  if (handled || FROM_TERMINALS.includes(signal)) {
    process.kill(FROM_TERMINALS.includes(signal) && processGroup(pid) === pid ? -pid : pid, signal);
  }
  if (handled && !force) return false;
  process.kill(pid, 'SIGKILL');
  return true;
}

async function killContainer(pidFile: string, ended: () => boolean): Promise<void> {
  const pid = await firstProcess(pidFile, ended);
  if (pid !== undefined && !ended()) process.kill(pid, 'SIGKILL');
}

/** True when a process catches or ignores a signal. */
function handles(pid: number, signal: number): boolean {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  const mask = (field: string) => BigInt(`0x${new RegExp(`^${field}:\\s*(\\S+)`, 'm').exec(status)?.[1] ?? 0}`);
  return ((mask('SigCgt') | mask('SigIgn')) & (1n << BigInt(signal - 1))) !== 0n;
}

function processGroup(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // Behind the command, which may hold anything: state, parent, group.
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[2]);
}

async function watchStart(options: SuperviseOptions, ended: () => boolean): Promise<void> {
  if ((await firstProcess(options.pidFile, ended)) !== undefined) options.onStarted();
}

/** Waits until the runtime has written the pid; undefined when it ended without. */
async function firstProcess(pidFile: string, ended: () => boolean): Promise<number | undefined> {
  while (true) {
    if (existsSync(pidFile)) {
      const pid = Number(readFileSync(pidFile, 'latin1'));
      if (pid > 0) return pid;
    }
    if (ended()) return undefined;
    await sleep(2);
  }
}
