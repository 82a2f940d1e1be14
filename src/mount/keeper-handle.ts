// The keeper of a process that serves mounts: started when a driver first needs one, ended with the process.

import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { Keeper, type KeeperOptions } from '../keeper/keeper.ts';

export class KeeperHandle implements AsyncDisposable {
  readonly #options: KeeperOptions;
  #keeper: Promise<Keeper> | undefined;

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  /** @throws NaiadError when it cannot be started; the next call tries again. */
  get(): Promise<Keeper> {
    if (this.#keeper) return this.#keeper;
    mkdirSync(dirname(this.#options.socketPath), { recursive: true, mode: 0o700 });
    const starting = Keeper.start(this.#options);
    starting.catch(() => {
      this.#keeper = undefined;
    });
    this.#keeper = starting;
    return starting;
  }

  /** Leaves the keeper, and what it keeps, to the next process. */
  async release(): Promise<void> {
    await (await this.#keeper)?.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#keeper?.catch(() => undefined))?.[Symbol.asyncDispose]();
  }
}
