// Attempts, pauses and deadlines. What may be tried again is decided where it fails: by throwing TransientFailure.
import { setTimeout as sleep } from 'node:timers/promises';
import { throwIfAborted } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { REGISTRY_ATTEMPTS_MAX, RETRY_AFTER_MAX_MS, RETRY_DELAY_MS } from '../base/limits.ts';
import { TransientFailure } from '../base/transient.ts';

export interface RetryOptions {
  readonly attemptsMax?: number;
  /** All attempts and pauses together end by then, with REGISTRY_UNAVAILABLE. */
  readonly deadlineMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** First pause; a test shortens it. */
  readonly delayMs?: number;
  readonly onRetry?: () => void;
  /** What is being done, for the message of the deadline. */
  readonly what: string;
}

/** Puts the deadline off by this many milliseconds: for progress that was made. */
export type Extend = (ms: number) => void;

/** Runs `attempt` until it succeeds, fails for good, or the attempts or the time are used up. */
export async function retrying<T>(
  options: RetryOptions,
  attempt: (signal: AbortSignal | undefined, number: number, extend: Extend) => Promise<T>,
): Promise<T> {
  using deadline = startDeadline(options);
  const attemptsMax = options.attemptsMax ?? REGISTRY_ATTEMPTS_MAX;
  let last: NaiadError | undefined;
  for (let number = 1; ; number++) {
    try {
      throwIfAborted(deadline.signal);
      return await attempt(deadline.signal, number, (ms) => deadline.extend(ms));
    } catch (error) {
      if (error instanceof TransientFailure) last = error.failure;
      if (deadline.passed) throw deadlineError(options, last);
      if (last === undefined || !(error instanceof TransientFailure)) throw error;
      if (number >= attemptsMax) throw withAttempts(last, number);
      await pause(pauseMs(options.delayMs ?? RETRY_DELAY_MS, number, error.retryAfterMs), deadline, options, last);
      options.onRetry?.();
    }
  }
}

/** Exponential, the upper half random, so that clients that failed together do not come back together. */
function pauseMs(delayMs: number, number: number, retryAfterMs: number | undefined): number {
  const backoff = delayMs * 2 ** (number - 1);
  const jittered = backoff / 2 + Math.random() * (backoff / 2);
  return retryAfterMs === undefined ? jittered : Math.min(retryAfterMs, RETRY_AFTER_MAX_MS) + jittered / 4;
}

async function pause(ms: number, deadline: Deadline, options: RetryOptions, last: NaiadError): Promise<void> {
  // Waiting past the deadline helps nobody.
  if (ms > deadline.leftMs()) throw deadlineError(options, last);
  try {
    await sleep(ms, undefined, deadline.signal ? { signal: deadline.signal } : {});
  } catch {
    if (deadline.passed) throw deadlineError(options, last);
    throwIfAborted(deadline.signal);
  }
}

function withAttempts(failure: NaiadError, attempts: number): NaiadError {
  if (attempts === 1) return failure;
  return new NaiadError(failure.code, `${failure.message}, after ${attempts} attempts`, {
    ...(failure.hint ? { hint: failure.hint } : {}),
    cause: failure.cause,
  });
}

function deadlineError(options: RetryOptions, last: NaiadError | undefined): NaiadError {
  const seconds = (options.deadlineMs ?? 0) / 1000;
  const why = last ? `: ${last.message}` : '';
  return new NaiadError('REGISTRY_UNAVAILABLE', `${options.what}: no result within ${seconds} s${why}`, {
    ...(last?.hint ? { hint: last.hint } : {}),
    cause: last,
  });
}

interface Deadline extends Disposable {
  readonly signal: AbortSignal | undefined;
  readonly passed: boolean;
  leftMs(): number;
  extend(ms: number): void;
}

/** Own wiring instead of AbortSignal.any: its listeners on a signal that lives as long as a mount are never freed. */
function startDeadline(options: RetryOptions): Deadline {
  const { deadlineMs, signal } = options;
  if (deadlineMs === undefined) {
    const never = { passed: false, leftMs: () => Number.POSITIVE_INFINITY, extend() {}, [Symbol.dispose]() {} };
    return { signal, ...never };
  }
  const controller = new AbortController();
  let endsAt = performance.now() + deadlineMs;
  let passed = false;
  let timer: NodeJS.Timeout;
  const wait = () => {
    const leftMs = endsAt - performance.now();
    if (leftMs > 0) {
      timer = setTimeout(wait, leftMs);
      return;
    }
    passed = true;
    controller.abort(new NaiadError('REGISTRY_UNAVAILABLE', `${options.what}: deadline passed`));
  };
  wait();
  const onAbort = () => controller.abort(signal?.reason);
  if (signal?.aborted) onAbort();
  signal?.addEventListener('abort', onAbort, { once: true });
  return {
    signal: controller.signal,
    get passed() {
      return passed;
    },
    leftMs: () => endsAt - performance.now(),
    extend: (ms) => {
      endsAt += ms;
    },
    [Symbol.dispose]() {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    },
  };
}
