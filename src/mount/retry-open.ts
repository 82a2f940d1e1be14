// Opening the image of a mount that people use: that it cannot be opened now is no reason to take it from them.
import { setTimeout as sleep } from 'node:timers/promises';
import { throwIfAborted } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';

/** Between attempts; doubled up to the second one. */
const PAUSE_MS = 500;
const PAUSE_MAX_MS = 30_000;

export interface RetryOptions {
  readonly signal: AbortSignal;
  /** Called before each pause. */
  readonly onRetry: (error: NaiadError, pauseMs: number) => void | Promise<void>;
}

/** Calls `open` until it succeeds. @throws after `signal`, and what is no NaiadError */
export async function retryOpen(open: () => Promise<unknown>, { signal, onRetry }: RetryOptions): Promise<void> {
  for (let pauseMs = PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, PAUSE_MAX_MS)) {
    try {
      await open();
      return;
    } catch (error) {
      if (!(error instanceof NaiadError) || signal.aborted) throw error;
      await onRetry(error, pauseMs);
    }
    await sleep(pauseMs, undefined, { signal }).catch(() => throwIfAborted(signal));
  }
}
