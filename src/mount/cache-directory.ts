// The cache directories that mounts of this process use: each opened, locked against other daemons and kept within its
// limits once, from its first mount to its last.
import { lockCache } from '../cache/cache-dir.ts';
import type { CacheSpace } from '../cache/space.ts';
import { cachePaths } from '../store/paths.ts';
import { openCacheSpace } from './open-cache.ts';

export interface CacheDirectory {
  readonly path: string;
  readonly space: CacheSpace;
}

interface Entry {
  users: number;
  readonly lock: Disposable;
  readonly opened: Promise<CacheDirectory>;
  /** What `opened` resolved to. */
  directory?: CacheDirectory;
}

export class CacheDirectories {
  readonly #entries = new Map<string, Entry>();

  /**
   * Opens `path`; the caller disposes of its share. Of several limits the first one counts.
   * @throws NaiadError CACHE_LOCKED when another daemon has it, CACHE_INVALID, USAGE, PERMISSION, NO_SPACE, IO
   */
  async open(path: string, sizeMax: number | undefined): Promise<CacheDirectory & AsyncDisposable> {
    const entry = this.#entries.get(path) ?? this.#newEntry(path, sizeMax);
    entry.users++;
    try {
      return { ...(await entry.opened), [Symbol.asyncDispose]: () => this.#release(path, entry) };
    } catch (error) {
      await this.#release(path, entry);
      throw error;
    }
  }

  /** Those that are open. */
  list(): CacheDirectory[] {
    return [...this.#entries.values()].flatMap(({ directory }) => directory ?? []);
  }

  #newEntry(path: string, sizeMax: number | undefined): Entry {
    const lock = lockCache(cachePaths(path));
    const opened = openCacheSpace(path, sizeMax).then((space) => {
      entry.directory = { path, space };
      return entry.directory;
    });
    const entry: Entry = { users: 0, lock, opened };
    this.#entries.set(path, entry);
    return entry;
  }

  async #release(path: string, entry: Entry): Promise<void> {
    if (--entry.users > 0) return;
    if (this.#entries.get(path) === entry) this.#entries.delete(path);
    // Before anything is awaited, so that who opens it anew in this process finds it free.
    entry.lock[Symbol.dispose]();
    const opened = await entry.opened.catch(() => undefined);
    await opened?.space[Symbol.asyncDispose]();
  }
}
