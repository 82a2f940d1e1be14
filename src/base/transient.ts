import type { NaiadError } from './errors.ts';

/** A failure that another attempt may cure. Whoever gives up trying throws `failure`. */
export class TransientFailure extends Error {
  readonly failure: NaiadError;
  /** What the other side asked to be left alone for. */
  readonly retryAfterMs: number | undefined;
  /** There was not even a connection: whatever is asked there fails now, and works again for all at once. */
  readonly unreachable: boolean;

  constructor(failure: NaiadError, retryAfterMs?: number, unreachable = false) {
    super(failure.message, { cause: failure });
    this.failure = failure;
    this.retryAfterMs = retryAfterMs;
    this.unreachable = unreachable;
  }
}
