// Sees to it that no test file holds up the run. node waits for a file until its process has ended and nobody holds its
// output any more, which a daemon or a container that a failed test left behind may do for ever. So a file that takes too long
// is killed with everything it started, and so is what a file that has ended left at its output.
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** In the environment of whatever a test file starts, and of what that starts: the run, and the file. */
const MARK = 'NAIAD_TEST_FILE';
const LOOK_INTERVAL_MS = 1000;
/** A killed process is gone within this time, or never. */
const KILL_WAIT_MS = 30_000;

export interface FileWatchOptions {
  readonly fileTimeoutMs: number;
  /** How long after its own process the output of a file may stay open. */
  readonly outputTimeoutMs: number;
}

interface WatchedFile {
  readonly startedMs: number;
  /** Since when its process is gone. */
  endedMs: number | undefined;
  killed: { readonly why: string; readonly atMs: number } | undefined;
}

interface MarkedProcess {
  readonly pid: number;
  readonly parent: number;
  readonly mark: string;
  readonly command: string;
}

export class FileWatch implements Disposable {
  readonly #options: FileWatchOptions;
  readonly #files = new Map<string, WatchedFile>();
  readonly #timer = setInterval(() => this.#look(), LOOK_INTERVAL_MS);

  constructor(options: FileWatchOptions) {
    this.#options = options;
  }

  /** To be called just before the process of `file` is started, which inherits the environment. */
  started(file: string): void {
    process.env[MARK] = markOf(file);
    this.#files.set(file, { startedMs: performance.now(), endedMs: undefined, killed: undefined });
  }

  /** Says why it was killed, if it was. */
  ended(file: string): string | undefined {
    const { killed } = this.#files.get(file) ?? {};
    this.#files.delete(file);
    return killed?.why;
  }

  /** What still runs of any file after `waitMs`, which is killed. Called when every file has ended. */
  async endLeftovers(waitMs: number): Promise<{ readonly file: string; readonly command: string }[]> {
    const end = performance.now() + waitMs;
    while (true) {
      const left = markedProcesses().filter(({ mark }) => mark.startsWith(markOf('')));
      if (left.length > 0 && performance.now() < end) {
        await sleep(LOOK_INTERVAL_MS / 10);
        continue;
      }
      kill(left);
      return left.map(({ command, mark }) => ({ command, file: mark.slice(markOf('').length) }));
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const marked = markedProcesses();
    const now = performance.now();
    const { fileTimeoutMs, outputTimeoutMs } = this.#options;
    for (const [file, watched] of this.#files) {
      const its = marked.filter(({ mark }) => mark === markOf(file));
      if (watched.killed) {
        kill(its);
        if (now - watched.killed.atMs > KILL_WAIT_MS) throw new Error(`${file} ${watched.killed.why}; it does not end`);
        continue;
      }
      const lives = its.some(({ parent }) => parent === process.pid);
      watched.endedMs = lives ? undefined : (watched.endedMs ?? now);
      const seconds = Math.round((now - watched.startedMs) / 1000);
      let why: string | undefined;
      if (now - watched.startedMs > fileTimeoutMs) why = `was killed after ${seconds} s`;
      else if (now - (watched.endedMs ?? now) > outputTimeoutMs)
        why = 'ended, and what it started holds its output open';
      if (why === undefined) continue;
      watched.killed = { why: `${why}: ${its.map(({ command }) => command).join(', ')}`, atMs: now };
      kill(its);
    }
  }
}

function markOf(file: string): string {
  return `${process.pid}:${file}`;
}

/** Stopped first, so that none of them sees another one die and starts it again. */
function kill(processes: readonly MarkedProcess[]): void {
  for (const signal of ['SIGSTOP', 'SIGKILL'] as const) {
    for (const { pid } of processes) {
      try {
        process.kill(pid, signal);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
      }
    }
  }
}

function markedProcesses(): MarkedProcess[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  return pids.flatMap((name) => {
    try {
      const mark = readFileSync(`/proc/${name}/environ`, 'utf8').split(`${MARK}=`)[1]?.split('\0')[0];
      if (mark === undefined) return [];
      const words = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0').join(' ').trim();
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
      // Behind the command, which may hold anything: state, parent.
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      return [{ pid: Number(name), parent, mark, command: `process ${name} (${words})` }];
    } catch {
      return []; // It ended, or is none of ours.
    }
  });
}
