// Every path that naiad keeps things under, made here only.
//
//   <cache>/                     $NAIAD_CACHE, /var/cache/naiad as root, $XDG_CACHE_HOME/naiad, ~/.cache/naiad
//     blobs/<blobId>.data        sparse, uncompressed bytes at device offsets
//     blobs/<blobId>.map         which chunks of it are present
//     blobs/<blobId>-<variant>.… of an image that contradicts the others about the blob's chunks
//     bootstraps/<sha256>        bootstraps as the kernel mounts them
//     metadata/<digest hex>      manifests, configs and bootstrap layers as they are stored
//     pins/<pinId>.json          what is never removed to make room
//     registries/<host>.json     what registries were found to be like
//     layout, lock, CACHEDIR.TAG which layout this is; held by a daemon; for backup programs
//     rw/<spool>/{upper,work}    what was written to a read-write mount, removed when it ends
//   <state>/                     $NAIAD_STATE, /run/naiad as root, $XDG_RUNTIME_DIR/naiad, <cache>/run
//     mounts/<mountId>.json      one mount: image, mountpoint, driver, process
//     daemon.sock                API of the daemon that serves them
//     keeper.sock, keeper.sock.lock   of the keeper, which outlives the daemon; locked by it
//     daemon.lock                which process that is
//     daemon.log                 what it logged
//     mounts/<mountId>/{lower,upper,work}   the parts of a read-write mount
//     runs/<runId>/              bundle and root of a container that `naiad run` started
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

type Environment = Readonly<Record<string, string | undefined>>;

export interface User {
  readonly uid: number;
  readonly home: string;
}

function thisUser(): User {
  return { uid: process.getuid?.() ?? 0, home: homedir() };
}

/** Where cached data is kept, as an absolute path: `option` if given, else by environment and user. */
export function cacheDir(option?: string, env: Environment = process.env, user: User = thisUser()): string {
  if (option) return resolve(option);
  if (env.NAIAD_CACHE) return resolve(env.NAIAD_CACHE);
  if (user.uid === 0) return '/var/cache/naiad';
  return join(env.XDG_CACHE_HOME || join(user.home, '.cache'), 'naiad');
}

/** Where running mounts are recorded, as an absolute path. Gone after a reboot where the system has a /run. */
export function stateDir(env: Environment = process.env, user: User = thisUser()): string {
  if (env.NAIAD_STATE) return resolve(env.NAIAD_STATE);
  if (user.uid === 0) return '/run/naiad';
  return env.XDG_RUNTIME_DIR ? join(env.XDG_RUNTIME_DIR, 'naiad') : join(cacheDir(undefined, env, user), 'run');
}

/** Data file and chunk map of a blob. */
export function blobCacheFiles(cache: string, blobId: string, variant?: string): { data: string; map: string } {
  const base = join(cache, 'blobs', variant === undefined ? blobId : `${blobId}-${variant}`);
  return { data: `${base}.data`, map: `${base}.map` };
}

/** The parts of a cache directory. */
export function cachePaths(cache: string) {
  return {
    root: cache,
    blobs: join(cache, 'blobs'),
    metadata: metadataDir(cache),
    bootstraps: bootstrapsDir(cache),
    pins: join(cache, 'pins'),
    layout: join(cache, 'layout'),
    lock: join(cache, 'lock'),
    tag: join(cache, 'CACHEDIR.TAG'),
  };
}

/** Where configs and bootstrap layers are kept, each under the hex of its digest. */
export function metadataDir(cache: string): string {
  return join(cache, 'metadata');
}

/** What registries were found to be like. */
export function registriesDir(cache: string): string {
  return join(cache, 'registries');
}

/** A bootstrap as it is mounted, under the hex of its sha256. */
export function bootstrapFile(cache: string, sha256: string): string {
  return join(bootstrapsDir(cache), sha256);
}

function bootstrapsDir(cache: string): string {
  return join(cache, 'bootstraps');
}

export function mountsDir(state: string): string {
  return join(state, 'mounts');
}

/** Everything of one mount under the state directory. */
export function mountPaths(state: string, mountId: string): { record: string; parts: string } {
  const base = join(mountsDir(state), mountId);
  return { record: `${base}.json`, parts: base };
}

/** Files of the daemon of a state directory. */
export function daemonPaths(state: string): {
  socket: string;
  lock: string;
  log: string;
  keeper: string;
  keeperLock: string;
} {
  return {
    socket: join(state, 'daemon.sock'),
    lock: join(state, 'daemon.lock'),
    log: join(state, 'daemon.log'),
    keeper: join(state, 'keeper.sock'),
    keeperLock: join(state, 'keeper.sock.lock'),
  };
}

/** Below the cache or the state directory: spools of what is written to read-write mounts. */
export function writableDir(parent: string): string {
  return join(parent, 'rw');
}

export function runsDir(state: string): string {
  return join(state, 'runs');
}

export function runDir(state: string, runId: string): string {
  return join(runsDir(state), runId);
}
