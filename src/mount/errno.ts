// Failures as a process inside a mount sees them.
import { constants } from 'node:os';
import { KINDS, NaiadError } from '../base/errors.ts';

/** Errnos that say something else when read(2) gives them: "no such file" of an open file, "try again at once". */
const MISLEADING = new Set(['ENOENT', 'EINTR', 'EINVAL']);

/** Positive errno for `error`, after the table of kinds; EIO where that would mislead, and for bugs. */
export function errnoOf(error: unknown): number {
  const name = error instanceof NaiadError ? KINDS[error.kind].errno : 'EIO';
  return constants.errno[(MISLEADING.has(name) ? 'EIO' : name) as keyof typeof constants.errno];
}
