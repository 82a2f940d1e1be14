// Assertions are for our own bugs. What a user or a hostile input can cause is a NaiadError.
import { NaiadError } from './errors.ts';

/** Throws a BUG error when `condition` is false. The message says which promise was broken. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new NaiadError('BUG', `assertion failed: ${message}`);
}

/** Marks a switch as exhaustive; reaching it is a bug. */
export function unreachable(value: never): never {
  throw new NaiadError('BUG', `unreachable value ${JSON.stringify(value)}`);
}
