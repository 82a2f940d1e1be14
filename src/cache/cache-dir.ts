// A cache directory as a whole: that it is one of ours and of this layout, and who owns it.
import { closeSync, constants, mkdirSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import { NaiadError } from '../base/errors.ts';
import { systemError } from '../base/system-error.ts';
import { tryLock } from '../native/lock.ts';
import { CACHE_HINT } from './cache-files.ts';

/** As `cachePaths` makes them. */
export interface CachePaths {
  readonly root: string;
  readonly blobs: string;
  readonly metadata: string;
  readonly bootstraps: string;
  readonly pins: string;
  readonly layout: string;
  readonly lock: string;
  readonly tag: string;
}

/** Raised when files move or change their names. Chunk maps have a version of their own. */
const CACHE_LAYOUT_VERSION = 1;

/** What backup programs look for (https://bford.info/cachedir/). */
const TAG = 'Signature: 8a477f597d28d172789f06886806bc55\n# A cache of naiad. What is here can be fetched again.\n';

/**
 * Makes the directory where it is missing, and checks that it is laid out as this version does it.
 * @throws NaiadError CACHE_INVALID for another layout; PERMISSION, NO_SPACE, IO
 */
export function prepareCacheDir(paths: CachePaths): void {
  try {
    mkdirSync(paths.root, { recursive: true, mode: 0o700 });
    const found = readIfThere(paths.layout);
    if (found === undefined) {
      publish(paths.layout, `naiad cache ${CACHE_LAYOUT_VERSION}\n`);
      publish(paths.tag, TAG);
      return;
    }
    const version = /^naiad cache (\d{1,9})\n$/.exec(found)?.[1];
    if (version === String(CACHE_LAYOUT_VERSION)) return;
    const what = version === undefined ? 'of something else' : `of layout ${version}`;
    throw new NaiadError('CACHE_INVALID', `${paths.root}: this cache is ${what}, expected ${CACHE_LAYOUT_VERSION}`, {
      hint: 'Use another directory with --cache or NAIAD_CACHE; or remove this one, what is in it is fetched again.',
    });
  } catch (error) {
    throw systemError(error, `cache directory ${paths.root}`, CACHE_HINT);
  }
}

/**
 * Owns the cache directory until disposed of, or until the process and everyone it gave the descriptor to are gone. Those
 * who only read or mount without a daemon do not ask for this lock.
 * @throws NaiadError CACHE_LOCKED, PERMISSION, IO
 */
export function lockCache(paths: CachePaths): Disposable {
  prepareCacheDir(paths);
  let fd: number;
  try {
    fd = openSync(paths.lock, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  } catch (error) {
    throw systemError(error, paths.lock, CACHE_HINT);
  }
  if (tryLock(fd, 'exclusive') === 'busy') {
    const owner = /^\d{1,10}/.exec(readIfThere(paths.lock) ?? '')?.[0];
    closeSync(fd);
    throw new NaiadError('CACHE_LOCKED', `${paths.root}: process ${owner ?? '?'} owns this cache`, {
      hint: 'One daemon serves a cache directory; name another with --cache or NAIAD_CACHE.',
    });
  }
  writeSync(fd, Buffer.from(`${process.pid}\n`.padEnd(12)), 0, 12, 0);
  return { [Symbol.dispose]: () => closeSync(fd) };
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function publish(path: string, text: string): void {
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, text, { mode: 0o600 });
  renameSync(temporary, path);
}
