// A network of its own for each container of a benchmark: ports of the machine and of other containers are not in the way.
import { WorkerProcess } from './worker-process.ts';

/** Brings the loopback up and becomes the rest of its command line. */
const WITH_LOOPBACK = ['unshare', '--net', '--', 'sh', '-ec', 'ip link set lo up; exec "$@"', 'sh'] as const;

export class ContainerNetwork implements AsyncDisposable {
  readonly #probe = new WorkerProcess('probe-main.ts', [], WITH_LOOPBACK);

  /** What a runtime joins. */
  get path(): string {
    return `/proc/${this.#probe.pid}/ns/net`;
  }

  /** Resolves once it is there. @throws NaiadError COMMAND_FAILED where it cannot be made */
  async opened(): Promise<void> {
    await this.#probe.ask('stop');
  }

  /** When it answered, in milliseconds since the epoch; rejects after `stop`. */
  async ready(text: string): Promise<number> {
    return await this.#probe.ask<number>('ready', text);
  }

  async stop(): Promise<void> {
    await this.#probe.ask('stop');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#probe[Symbol.asyncDispose]();
  }
}
