// Operating system errors of cache files as our codes.
import { NaiadError } from '../base/errors.ts';

/** `error` as a NaiadError: NO_SPACE for a full disk or quota, PERMISSION, else IO. Ours pass unchanged. */
export function fileError(error: unknown, what: string): NaiadError {
  if (error instanceof NaiadError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EFBIG':
      return new NaiadError('NO_SPACE', `${what}: the file system is full (${code})`, {
        cause: error,
        hint: 'Free space where the cache is, or choose another directory with --cache.',
      });
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new NaiadError('PERMISSION', `${what}: ${code}`, {
        cause: error,
        hint: 'Run as root, or choose a writable directory with --cache.',
      });
    case undefined:
      throw error;
    default:
      return new NaiadError('IO', `${what}: ${message}`, { cause: error });
  }
}
