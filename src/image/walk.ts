// Every name of an image, parents before children. A bootstrap can hold a directory twice or inside itself; a walk ends
// with an error then, instead of never.
import { type ByteString, compareBytes, displayBytes } from '../base/bytes.ts';
import { NaiadError } from '../base/errors.ts';
import { TREE_DEPTH_MAX, TREE_ENTRIES_MAX } from '../base/limits.ts';
import type { Bootstrap, DirentView, InodeView } from './bootstrap-reader.ts';
import { S_IFDIR, S_IFMT } from './tree.ts';

export interface WalkedName {
  /** Components from the root; empty for the root. */
  readonly path: readonly ByteString[];
  readonly inode: InodeView;
}

/** Walks in stored order, the root first. @throws NaiadError BOOTSTRAP_INVALID on a loop or a tree beyond its limits. */
export function* walk(bootstrap: Bootstrap, from: readonly ByteString[] = []): Iterable<WalkedName> {
  const start = bootstrap.resolve(from);
  if (start === undefined) throw new NaiadError('PATH_NOT_FOUND', `${displayPath(from)} is not in the image`);
  const pending: WalkedName[] = [{ path: from, inode: bootstrap.inode(start) }];
  const directories = new Set<number>();
  let names = 0;
  for (let next = pending.pop(); next; next = pending.pop()) {
    if (++names > TREE_ENTRIES_MAX) throw new NaiadError('BOOTSTRAP_INVALID', `more than ${TREE_ENTRIES_MAX} names`);
    yield next;
    const { path, inode } = next;
    if ((inode.mode & S_IFMT) !== S_IFDIR) continue;
    if (directories.has(inode.nid)) {
      throw new NaiadError('BOOTSTRAP_INVALID', `directory ${displayPath(path)} is in the tree more than once`);
    }
    directories.add(inode.nid);
    if (path.length >= TREE_DEPTH_MAX) throw new NaiadError('BOOTSTRAP_INVALID', `tree deeper than ${TREE_DEPTH_MAX}`);
    const children = childrenOf(bootstrap, next);
    for (const child of children.reverse()) {
      pending.push({ path: [...path, child.name], inode: bootstrap.inode(child.nid) });
    }
  }
}

/** Entries but `.` and `..`. In order without a name twice, so that whoever recreates the tree cannot be led astray. */
function childrenOf(bootstrap: Bootstrap, { path, inode }: WalkedName): DirentView[] {
  const entries = bootstrap.readdir(inode.nid);
  entries.forEach((entry, index) => {
    const before = entries[index - 1];
    if (before && compareBytes(before.name, entry.name) >= 0) {
      const names = `${displayBytes(before.name)} and ${displayBytes(entry.name)}`;
      throw new NaiadError('BOOTSTRAP_INVALID', `directory ${displayPath(path)}: entries ${names} are not in order`);
    }
  });
  return entries.filter(({ name }) => name !== '.' && name !== '..');
}

/** A path for people: `/usr/bin/env`. */
export function displayPath(path: readonly ByteString[]): string {
  return `/${path.map(displayBytes).join('/')}`;
}
