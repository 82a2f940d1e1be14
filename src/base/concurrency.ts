// Owned, bounded concurrency. Nothing here outlives the promise it returns.
import { NaiadError } from './errors.ts';

/** Throws CANCELED when `signal` has fired. */
export function throwIfAborted(signal?: AbortSignal): void {
  if (signal?.aborted) throw abortReason(signal);
}

/** Why `signal` has fired, as CANCELED unless it says itself. */
export function abortReason(signal: AbortSignal | undefined): NaiadError {
  const reason: unknown = signal?.reason;
  return reason instanceof NaiadError ? reason : new NaiadError('CANCELED', 'interrupted', { cause: reason });
}

/** Runs `task` over `items`, at most `inFlightMax` at once; the first failure aborts the others and is thrown. */
export async function forEachBounded<T>(
  items: Iterable<T>,
  options: { readonly inFlightMax: number; readonly signal?: AbortSignal | undefined },
  task: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const own = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, own.signal]) : own.signal;
  const iterator = items[Symbol.iterator]();
  let failure: { error: unknown } | undefined;
  const lane = async () => {
    while (!failure) {
      const next = iterator.next();
      if (next.done) return;
      try {
        throwIfAborted(options.signal);
        await task(next.value, signal);
      } catch (error) {
        failure ??= { error };
        own.abort(error);
      }
    }
  };
  await Promise.all(Array.from({ length: options.inFlightMax }, lane));
  if (failure) throw failure.error;
}

/** A counting lock: at most `count` holders. Use with `using permit = await lanes.acquire()`. */
export class Lanes {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(count: number) {
    this.#free = count;
  }

  async acquire(): Promise<Disposable> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return { [Symbol.dispose]: () => this.#release() };
  }

  #release(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free++;
  }
}

/** A promise with its handles, as `Promise.withResolvers` of later engines. */
export function deferred<T>(): {
  promise: Promise<T>;
  resolve: (value: T) => void;
  reject: (error: unknown) => void;
} {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((res, rej) => {
    resolve = res;
    reject = rej;
  });
  return { promise, resolve, reject };
}

/** Stops waiting for shared work when `signal` fires; the work goes on for the others. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return await work;
  const { promise: aborted, reject } = deferred<never>();
  const onAbort = () => reject(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    aborted.catch(() => {});
  }
}
