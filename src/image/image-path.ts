// Paths as a user gives them, resolved inside an image: relative to its root, symlinks followed within it.
import { type ByteString, utf8ToByteString } from '../base/bytes.ts';
import { NaiadError } from '../base/errors.ts';
import type { Bootstrap } from './bootstrap-reader.ts';
import { S_IFDIR, S_IFLNK, S_IFMT } from './tree.ts';
import { displayPath } from './walk.ts';

/** As many as Linux follows (MAXSYMLINKS). */
const SYMLINKS_MAX = 40;

/** Components of a path from a command line; `.` and empty ones dropped, `..` kept. */
export function parsePath(text: string): ByteString[] {
  return componentsOf(utf8ToByteString(text));
}

function componentsOf(path: ByteString): ByteString[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}

/**
 * The canonical path and inode that `path` leads to, `..` and symlinks resolved; the last component's symlink only with
 * `followLast`.
 * @throws NaiadError PATH_NOT_FOUND.
 */
export function resolvePath(
  bootstrap: Bootstrap,
  path: readonly ByteString[],
  { followLast }: { readonly followLast: boolean },
): { path: ByteString[]; nid: number } {
  const notFound = (why: string) => new NaiadError('PATH_NOT_FOUND', `${displayPath(path)}: ${why}`);
  const rest = [...path];
  let done: { name: ByteString; nid: number }[] = [];
  let links = 0;
  for (let name = rest.shift(); name !== undefined; name = rest.shift()) {
    const directory = done.at(-1)?.nid ?? bootstrap.rootNid;
    if ((bootstrap.inode(directory).mode & S_IFMT) !== S_IFDIR)
      throw notFound('goes through something that is no directory');
    if (name === '..') {
      done.pop();
      continue;
    }
    const nid = bootstrap.lookup(directory, name);
    if (nid === undefined) throw notFound('no such file in the image');
    const isLink = (bootstrap.inode(nid).mode & S_IFMT) === S_IFLNK;
    if (!isLink || (rest.length === 0 && !followLast)) {
      done.push({ name, nid });
      continue;
    }
    if (++links > SYMLINKS_MAX) throw notFound(`more than ${SYMLINKS_MAX} symlinks`);
    const target = bootstrap.readlink(nid);
    if (target.startsWith('/')) done = [];
    rest.unshift(...componentsOf(target));
  }
  return { path: done.map(({ name }) => name), nid: done.at(-1)?.nid ?? bootstrap.rootNid };
}
