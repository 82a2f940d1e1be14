// What the operating system refused, in our codes: one table for files, mounts and native calls alike.
import { getSystemErrorMap } from 'node:util';
import { type Code, NaiadError } from './errors.ts';

const CODE_OF_ERRNO: Readonly<Record<string, Code>> = {
  ENOENT: 'PATH_NOT_FOUND',
  ENOTDIR: 'PATH_NOT_FOUND',
  EEXIST: 'TARGET_EXISTS',
  ENOTEMPTY: 'TARGET_EXISTS',
  EACCES: 'PERMISSION',
  EPERM: 'PERMISSION',
  EROFS: 'PERMISSION',
  ENOSPC: 'NO_SPACE',
  EDQUOT: 'NO_SPACE',
  EFBIG: 'NO_SPACE',
};

/** True for errors of system calls, which carry the name of an errno. */
export function isSystemError(error: unknown): error is NodeJS.ErrnoException & { readonly code: string } {
  return error instanceof Error && /^E[A-Z0-9]+$/.test((error as NodeJS.ErrnoException).code ?? '');
}

/**
 * `error` as a NaiadError whose message is `doing` and what the system said. Our own errors pass unchanged; what is no
 * system error at all is thrown as it is, being a bug.
 */
export function systemError(error: unknown, doing: string, hint?: string): NaiadError {
  if (error instanceof NaiadError) return error;
  if (!isSystemError(error)) throw error;
  const message = `${doing}: ${errnoText(error.code)} (${error.code})`;
  return new NaiadError(CODE_OF_ERRNO[error.code] ?? 'IO', message, {
    cause: error,
    ...(hint !== undefined && { hint }),
  });
}

/** The system's words for an errno: `no space left on device`. */
function errnoText(code: string): string {
  // libuv's words speak of sockets.
  if (code === 'ENOTSUP') return 'operation not supported';
  for (const [name, text] of getSystemErrorMap().values()) if (name === code) return text;
  return 'refused by the system';
}
