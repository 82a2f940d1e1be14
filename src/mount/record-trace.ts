// `naiad trace record`: a container is run as `naiad run` does, until its application is ready, and what it has read by then
// is its trace.
import { setTimeout as sleep } from 'node:timers/promises';
import { NaiadError } from '../base/errors.ts';
import type { Trace } from '../format/trace/trace.ts';
import { ReadyWaiter, type ReadyWhen } from '../ready/ready.ts';
import { monotonicMs } from './first-touches.ts';
import { type RunRequest, type RunWatch, runContainer } from './run-container.ts';
import { traceOfMount } from './trace-of-mount.ts';

export interface RecordRequest {
  readonly run: Omit<RunRequest, 'record' | 'watch'>;
  /** When it counts as started; without, it is recorded until it ends, or for `durationMs`. */
  readonly ready?: ReadyWhen | undefined;
  /** How long to go on after that. */
  readonly durationMs?: number | undefined;
  /** It must be ready within this time. */
  readonly timeoutMs: number;
}

export interface Recording {
  readonly trace: Trace;
  /** How a container ended that was recorded until then, and its last words. */
  readonly ended: { readonly code: number; readonly said: string } | undefined;
}

/** @throws NaiadError COMMAND_FAILED when it ends before it is ready, LIMIT_EXCEEDED when that takes too long */
export async function recordTrace(request: RecordRequest, signal: AbortSignal): Promise<Recording> {
  const recorder = new Recorder(request);
  await runContainer({ ...request.run, record: true, watch: recorder }, signal);
  return recorder.recording;
}

class Recorder implements RunWatch {
  readonly #request: RecordRequest;
  readonly #waiter: ReadyWaiter;
  #recording: Recording | undefined;

  constructor(request: RecordRequest) {
    this.#request = request;
    this.#waiter = new ReadyWaiter(request.ready ?? { kind: 'exit', text: 'exit' });
  }

  get recording(): Recording {
    if (!this.#recording) throw new NaiadError('BUG', 'nothing was recorded');
    return this.#recording;
  }

  output(bytes: Uint8Array): void {
    this.#waiter.output(bytes);
  }

  async watch({ state, mountId, ended }: Parameters<RunWatch['watch']>[0]): Promise<void> {
    const { durationMs } = this.#request;
    const readyAtMs = await this.#untilReady(ended);
    let how: Recording['ended'];
    if (durationMs !== undefined) {
      const over = new AbortController();
      await Promise.race([ended, sleep(durationMs, undefined, { signal: over.signal })]).finally(() => over.abort());
    } else if (readyAtMs === undefined) {
      how = { code: await ended, said: this.#waiter.said };
    }
    const { trace, sinceMs } = await traceOfMount(state, mountId);
    const ready = readyAtMs === undefined ? {} : { readyMs: readyAtMs - sinceMs };
    this.#recording = { trace: { ...trace, ...ready }, ended: how };
  }

  /** When it was, by the monotonic clock; undefined when nobody asked for that. */
  async #untilReady(ended: Promise<number>): Promise<number | undefined> {
    const { ready, timeoutMs } = this.#request;
    if (!ready) return undefined;
    const waiter = this.#waiter;
    const slow = new AbortController();
    const timer = setTimeout(() => {
      slow.abort(
        new NaiadError(
          'LIMIT_EXCEEDED',
          `the application was not ready within ${timeoutMs / 1000} s; it said: ${waiter.said}`,
          {
            hint: 'Allow more with --timeout, or look at what --ready waits for.',
          },
        ),
      );
    }, timeoutMs);
    ended.then(
      (code) => waiter.exited(code),
      () => slow.abort(), // Whoever started it hears why.
    );
    try {
      await waiter.until(slow.signal);
      return monotonicMs();
    } finally {
      clearTimeout(timer);
    }
  }
}
