// naiad's daemon as a program beside this one: started for each start that is measured, and asked over its socket.
import { existsSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { NaiadError } from '../../base/errors.ts';
import { shortSocketPath } from '../../base/socket-path.ts';
import { type NaiadPlace, runNaiad } from '../command.ts';
import { processesWith } from './process-usage.ts';
import type { RecordedTrace } from './touched.ts';

const END_WAIT_MS = 30_000;

/** What the daemon answers to a mount and to questions about one; of docs/reference/daemon-api.md what is used here. */
export interface MountAnswer {
  readonly mount: { readonly id: string; readonly driver?: string };
  readonly times?: { readonly resolvedMs?: number; readonly bootstrapMs?: number; readonly mountedMs?: number };
}

export class BenchDaemon implements AsyncDisposable {
  readonly #place: NaiadPlace;

  private constructor(place: NaiadPlace) {
    this.#place = place;
  }

  static async start(place: NaiadPlace, signal: AbortSignal): Promise<BenchDaemon> {
    const daemon = new BenchDaemon(place);
    await runNaiad(['--quiet', 'daemon'], { place, signal });
    return daemon;
  }

  /** The daemon and its keeper. */
  pids(): number[] {
    return processesWith('NAIAD_STATE', this.#place.state);
  }

  async mount(body: Readonly<Record<string, unknown>>): Promise<MountAnswer> {
    return await this.#call<MountAnswer>('POST', '/v1/mounts', { cache: this.#place.cache, ...body });
  }

  async trace(id: string): Promise<RecordedTrace> {
    return await this.#call<RecordedTrace>('GET', `/v1/mounts/${id}/trace`);
  }

  async unmount(id: string): Promise<void> {
    await this.#call('POST', `/v1/mounts/${id}/unmount`, { lazy: true });
  }

  async #call<T>(method: string, path: string, body?: object): Promise<T> {
    using socket = shortSocketPath(join(this.#place.state, 'daemon.sock'));
    const { status, text } = await exchange(socket.path, { method, path, body });
    if (status === 200) return JSON.parse(text) as T;
    throw new NaiadError('COMMAND_FAILED', `the daemon refused ${method} ${path}: ${text.slice(0, 1000)}`);
  }

  /** Unmounts everything and waits until its processes are gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    const socket = join(this.#place.state, 'daemon.sock');
    if (existsSync(socket)) await this.#call('POST', '/v1/daemon/stop');
    for (const end = Date.now() + END_WAIT_MS; Date.now() < end; await sleep(20)) {
      if (this.pids().length === 0) return;
    }
    throw new NaiadError('COMMAND_FAILED', `the daemon of ${this.#place.state} does not end`);
  }
}

function exchange(
  socketPath: string,
  { method, path, body }: { readonly method: string; readonly path: string; readonly body: object | undefined },
): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, method, path, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
      });
      response.on('close', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    outgoing.on('error', reject);
    outgoing.end(body && JSON.stringify(body));
  });
}
