// What `ls` shows: names of an image with what stat(2) would say.
import { type ByteString, displayBytes } from '../base/bytes.ts';
import type { Bootstrap, InodeView } from '../image/bootstrap-reader.ts';
import { resolvePath } from '../image/image-path.ts';
import {
  deviceMajor,
  deviceMinor,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from '../image/tree.ts';
import { displayPath, walk } from '../image/walk.ts';

export interface ListedName {
  /** From the root, bytes that are not UTF-8 as `\xNN`. */
  readonly path: string;
  readonly name: string;
  /** `-rwsr-xr-x` */
  readonly mode: string;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  /** `8,1` of a device node. */
  readonly device?: string;
  /** ISO 8601 with nanoseconds. */
  readonly mtime: string;
  readonly target?: string;
}

/** A directory's entries, everything below it, or the one name. */
export function* list(
  bootstrap: Bootstrap,
  path: readonly ByteString[],
  { recursive }: { readonly recursive: boolean },
): Iterable<ListedName> {
  const start = resolvePath(bootstrap, path, { followLast: !recursive });
  const isDirectory = (bootstrap.inode(start.nid).mode & S_IFMT) === S_IFDIR;
  if (!isDirectory) yield describe(bootstrap, start.path, bootstrap.inode(start.nid));
  else if (recursive) {
    for (const { path: found, inode } of walk(bootstrap, start.path)) yield describe(bootstrap, found, inode);
  } else {
    for (const { name, nid } of bootstrap.readdir(start.nid)) {
      if (name !== '.' && name !== '..') yield describe(bootstrap, [...start.path, name], bootstrap.inode(nid));
    }
  }
}

function describe(bootstrap: Bootstrap, path: readonly ByteString[], inode: InodeView): ListedName {
  const type = inode.mode & S_IFMT;
  const isDevice = type === S_IFCHR || type === S_IFBLK;
  return {
    path: displayPath(path),
    name: displayBytes(path.at(-1) ?? '/'),
    mode: modeText(inode.mode),
    nlink: inode.nlink,
    uid: inode.uid,
    gid: inode.gid,
    size: inode.size,
    ...(isDevice ? { device: `${deviceMajor(inode.rdev)},${deviceMinor(inode.rdev)}` } : {}),
    mtime: timeText(inode.mtimeSec, inode.mtimeNsec),
    ...(type === S_IFLNK ? { target: displayBytes(bootstrap.readlink(inode.nid)) } : {}),
  };
}

const TYPE_LETTERS = new Map([
  [S_IFSOCK, 's'],
  [S_IFLNK, 'l'],
  [S_IFREG, '-'],
  [S_IFBLK, 'b'],
  [S_IFDIR, 'd'],
  [S_IFCHR, 'c'],
  [S_IFIFO, 'p'],
]);

/** As ls -l writes it. */
export function modeText(mode: number): string {
  const letters = [8, 7, 6, 5, 4, 3, 2, 1, 0].map((bit) => ((mode >> bit) & 1 ? 'rwx'[(8 - bit) % 3] : '-'));
  const special: [number, number, string][] = [
    [0o4000, 2, 's'],
    [0o2000, 5, 's'],
    [0o1000, 8, 't'],
  ];
  for (const [bit, at, letter] of special) {
    if (mode & bit) letters[at] = letters[at] === 'x' ? letter : letter.toUpperCase();
  }
  return (TYPE_LETTERS.get(mode & S_IFMT) ?? '?') + letters.join('');
}

/** Seconds beyond what Date holds are shown as a number. */
export function timeText(seconds: number, nanoseconds: number): string {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return `${seconds}.${String(nanoseconds).padStart(9, '0')}`;
  return date.toISOString().replace('.000Z', `.${String(nanoseconds).padStart(9, '0')}Z`);
}
