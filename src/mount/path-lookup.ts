// Paths to inodes, for drivers that are asked by path. Remembers directories: they are few, and asked for most.
import type { Bootstrap } from '../image/bootstrap-reader.ts';
import { S_IFDIR, S_IFMT } from '../image/tree.ts';
import { textToNames } from './text-names.ts';

/** Directories remembered; about 200 bytes each. */
const DIRECTORIES_MAX = 16_384;

export class PathLookup {
  readonly #bootstrap: Bootstrap;
  readonly #directories = new Map<string, number>();

  constructor(bootstrap: Bootstrap) {
    this.#bootstrap = bootstrap;
  }

  /** The inode at an absolute path, `/` the root; undefined when there is none. No symlink is followed. */
  find(path: string): number | undefined {
    if (path === '/') return this.#bootstrap.rootNid;
    const slash = path.lastIndexOf('/');
    const directory = this.#directory(slash <= 0 ? '/' : path.slice(0, slash));
    if (directory === undefined) return undefined;
    for (const name of textToNames(path.slice(slash + 1))) {
      const nid = this.#bootstrap.lookup(directory, name);
      if (nid !== undefined) return nid;
    }
    return undefined;
  }

  #directory(path: string): number | undefined {
    const known = this.#directories.get(path);
    if (known !== undefined) {
      this.#directories.delete(path); // To the end: the first one is the one used longest ago.
      this.#directories.set(path, known);
      return known;
    }
    const nid = this.find(path);
    if (nid === undefined || (this.#bootstrap.inode(nid).mode & S_IFMT) !== S_IFDIR) return undefined;
    this.#directories.set(path, nid);
    if (this.#directories.size > DIRECTORIES_MAX) {
      const [oldest] = this.#directories.keys();
      if (oldest !== undefined) this.#directories.delete(oldest);
    }
    return nid;
  }
}
