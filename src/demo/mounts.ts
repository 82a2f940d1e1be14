// Mounting as a user does, by the built command, with cache and state of the demo's own.
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { NaiadError } from '../base/errors.ts';
import { systemError } from '../base/system-error.ts';
import { reportedError, runProgram } from './child.ts';

const COMMAND = fileURLToPath(new URL('../../cli/main.js', import.meta.url));
/** A process that served a mount brings its cache to disk before it ends. */
const END_WAIT_MS = 15_000;

/** What `naiad mount --json` prints, as far as it is used here. */
interface MountOutput {
  readonly mount: { readonly driver?: string };
}

/** Runs naiad. Disposing unmounts whatever it mounted, and waits for the processes behind. */
export class PrivateNaiad implements AsyncDisposable {
  readonly mountpoint: string;
  readonly #home: string;
  /** Beside the others: the name of a socket in it has to be short. */
  readonly #state: string;
  readonly #env: NodeJS.ProcessEnv;
  #mountTried = false;

  private constructor(home: string, state: string) {
    this.#home = home;
    this.#state = state;
    this.mountpoint = join(home, 'mnt');
    const own = { NAIAD_CACHE: join(home, 'cache'), NAIAD_STATE: state, TMPDIR: home };
    this.#env = { ...process.env, ...own };
  }

  /** `home` is a directory that nobody else uses. @throws NaiadError PERMISSION, NO_SPACE, IO */
  static async create(home: string): Promise<PrivateNaiad> {
    try {
      return new PrivateNaiad(home, await mkdtemp(join(tmpdir(), 'naiad-')));
    } catch (error) {
      throw systemError(error, `making a directory in ${tmpdir()}`);
    }
  }

  /** `naiad --json ARGS`. @throws the NaiadError it reported */
  async json<T>(args: readonly string[], signal?: AbortSignal): Promise<T> {
    const options = { env: this.#env, signal, failure: reportedError };
    const { stdout } = await runProgram(process.execPath, [COMMAND, '--json', ...args], options);
    return JSON.parse(stdout) as T;
  }

  /** Mounts on `mountpoint`; returns the driver's name. */
  async mount(image: string, signal: AbortSignal): Promise<string> {
    await mkdir(this.mountpoint, { recursive: true });
    this.#mountTried = true;
    const { mount } = await this.json<MountOutput>(['mount', image, this.mountpoint], signal);
    return mount.driver ?? 'unknown';
  }

  async unmount(): Promise<void> {
    await this.json(['umount', this.mountpoint]);
    await this.#waitForProcesses();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (this.#mountTried) await this.json(['umount', '--all', '--lazy']);
    } finally {
      await this.#waitForProcesses();
      await rm(this.#state, { recursive: true, force: true });
    }
  }

  /** Until no process names our directory: a mount that was interrupted at any moment is then gone too. */
  async #waitForProcesses(): Promise<void> {
    let left: string[] = [];
    for (const end = Date.now() + END_WAIT_MS; Date.now() < end; await sleep(20)) {
      left = await processesNaming(this.#home);
      if (left.length === 0) return;
    }
    throw new NaiadError('IO', `processes ${left.join(', ')} do not end; they use ${this.#home}`);
  }
}

/** Pids of the processes, this one left out, with `text` in their command line. */
async function processesNaming(text: string): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  return pids.filter((_, index) => lines[index]?.includes(text));
}
