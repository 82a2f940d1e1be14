// Mounting as a user does, by the built command, with cache and state of the demo's own.
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemError } from '../base/system-error.ts';
import { reportedError, runProgram } from './child.ts';

const COMMAND = fileURLToPath(new URL('../../cli/main.js', import.meta.url));

/** What `naiad mount --json` prints, as far as it is used here. */
interface MountOutput {
  readonly mount: { readonly driver?: string };
}

/** Runs naiad. Disposing unmounts whatever it mounted, and ends the daemon behind. */
export class PrivateNaiad implements AsyncDisposable {
  readonly mountpoint: string;
  /** Beside the others: the name of a socket in it has to be short. */
  readonly #state: string;
  readonly #env: NodeJS.ProcessEnv;
  #mountTried = false;

  private constructor(home: string, state: string) {
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

  /** Ends the daemon too, so that a next mount starts with nothing in memory. */
  async unmount(): Promise<void> {
    await this.json(['umount', this.mountpoint]);
    await this.json(['daemon', 'stop']);
  }

  /** A mount that was interrupted at any moment is gone too. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (this.#mountTried) await this.json(['umount', '--all', '--lazy']);
    } finally {
      await this.json(['daemon', 'stop']);
      await rm(this.#state, { recursive: true, force: true });
    }
  }
}
