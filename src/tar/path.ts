// Paths of archive members as lists of names.
import { type ByteString, displayBytes } from '../base/bytes.ts';
import { NaiadError } from '../base/errors.ts';
import { NAME_SIZE_MAX, TREE_DEPTH_MAX } from '../base/limits.ts';

/**
 * The names of `path` from the root: `./a//b/` and `/a/b` are both `a`, `b`; the root itself is empty.
 * @throws NaiadError PATH_UNSAFE for `..` and NUL, LIMIT_EXCEEDED for names and depths no file system has
 */
export function splitPath(path: ByteString): ByteString[] {
  const names = path.split('/').filter((name) => name !== '' && name !== '.');
  if (names.includes('..')) throw new NaiadError('PATH_UNSAFE', `path "${displayBytes(path)}" has a ".." in it`);
  if (path.includes('\0')) throw new NaiadError('PATH_UNSAFE', `path "${displayBytes(path)}" has a NUL in it`);
  if (names.length > TREE_DEPTH_MAX || names.some((name) => name.length > NAME_SIZE_MAX)) {
    const start = displayBytes(path.slice(0, 80));
    throw new NaiadError(
      'LIMIT_EXCEEDED',
      `path "${start}…" has more than ${TREE_DEPTH_MAX} names, or one of more than ${NAME_SIZE_MAX} bytes`,
    );
  }
  return names;
}
