// The keeper of a process that serves mounts: started when a driver first needs one, ended with the process.

import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type { KeeperOptions } from '../keeper/attached.ts';
import { Keeper } from '../keeper/keeper.ts';

export class KeeperHandle implements AsyncDisposable {
  readonly #options: KeeperOptions;
  #keeper: Promise<Keeper> | undefined;
  #current: Keeper | undefined;
  /** True once nothing of a process before this one is taken up any more. */
  #settled = false;

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  /** The keeper, if there is one by now, and not let go of: then there is nothing more to be known of it. */
  get current(): Keeper | undefined {
    return this.#current;
  }

  /** @throws NaiadError when it cannot be started; the next call tries again. */
  get(): Promise<Keeper> {
    if (this.#keeper) return this.#keeper;
    mkdirSync(dirname(this.#options.socketPath), { recursive: true, mode: 0o700 });
    const starting = this.#start();
    starting.catch(() => {
      this.#keeper = undefined;
    });
    this.#keeper = starting;
    return starting;
  }

  /** Says that all is taken up of what a process before this one had the keeper watch: the rest is let go of. */
  async settle(): Promise<void> {
    this.#settled = true;
    await (await this.#keeper)?.removeOtherDevices();
  }

  async #start(): Promise<Keeper> {
    const keeper = await Keeper.start(this.#options);
    this.#current = keeper;
    if (this.#settled) await keeper.removeOtherDevices();
    return keeper;
  }

  /** Leaves the keeper, and what it keeps, to the next process, which `command` starts if given. */
  async release(command?: readonly string[]): Promise<void> {
    const keeper = await this.#leave();
    if (command) await keeper?.setCommand(command);
    await keeper?.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#leave())?.[Symbol.asyncDispose]();
  }

  async #leave(): Promise<Keeper | undefined> {
    const keeper = await this.#keeper?.catch(() => undefined);
    this.#current = undefined;
    return keeper;
  }
}
