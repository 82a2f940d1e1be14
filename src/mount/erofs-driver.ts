// The fast driver: the kernel's own EROFS over the bootstrap, with the cache's sparse files as its devices. The first read of
// missing data raises a pre-content event, which the keeper answers when the data is there, or this process once it is.
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Lanes } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { isSystemError } from '../base/system-error.ts';
import { holdFiles } from '../cache/hold.ts';
import type { Keeper } from '../keeper/keeper.ts';
import { keeperProgram, preContentProblem } from '../native/keeper.ts';
import { loadAddon } from '../native/load.ts';
import { MNT_DETACH, MS_RDONLY, mount, UMOUNT_NOFOLLOW, umount } from '../native/mount.ts';
import { storeBootstrap } from './bootstrap-file.ts';
import type { Driver, DriverMount, DriverReport, Handover, MountPlace } from './driver.ts';
import { ErofsDevice } from './erofs-device.ts';
import type { ImageFs } from './image-fs.ts';

/** One directory for each EROFS there is, as long as anybody uses it. */
const EROFS_DIRECTORY = '/sys/fs/erofs';
/** How often to look whether somebody unmounted, and whether a device got complete by other means than its events. */
const WATCH_INTERVAL_MS = 250;
/** Another program that mounts an EROFS in the same instant makes ours unrecognisable. */
const MOUNT_ATTEMPTS_MAX = 5;
/** What the kernel reads ahead by itself, and so the bytes of one event, at most. */
const READ_AHEAD_KIB = 1024;

export const erofsDriver: Driver = {
  name: 'erofs',

  unavailable(cache) {
    try {
      return missing(cache);
    } catch (error) {
      if (error instanceof NaiadError) return unavailable(error.message, error.hint ?? '', error);
      throw error;
    }
  },

  async mount(fs, target, place) {
    const reason = this.unavailable(place.cache);
    if (reason) throw reason;
    // The mount before this one, at the same place, may still be letting go of its devices.
    const mounted = new ErofsMount(fs, place, `${place.id}.${randomBytes(4).toString('hex')}`);
    try {
      // Neither waits for the other: a keeper may have to be started, and the bootstrap is written.
      const [stored, watched] = await Promise.allSettled([mounted.holdBootstrap(), mounted.watchDevices()]);
      if (watched.status === 'rejected') throw watched.reason;
      if (stored.status === 'rejected') throw stored.reason;
      await mounted.mount(stored.value, target);
      return mounted;
    } catch (error) {
      await mounted[Symbol.asyncDispose]();
      throw error;
    }
  },

  async resume(fs, target, { state }, place) {
    const [id = '', name = ''] = state.split(' ');
    if (!existsSync(join(EROFS_DIRECTORY, id))) {
      throw new NaiadError('MOUNT_FAILED', `erofs: ${target} is not ${id} any more`);
    }
    const mounted = new ErofsMount(fs, place, name);
    await mounted.requireEvents(target);
    // Those that got complete as well: the daemon before this one may have died before it had their events end.
    await mounted.watchDevices({ all: true });
    await mounted.holdBootstrap();
    await mounted.mounted(id);
    return mounted;
  },
};

/** One at a time, so that the directory that appears is the mount's. */
const mounting = new Lanes(1);

class ErofsMount implements DriverMount {
  ended: Promise<void> = Promise.resolve();
  readonly #fs: ImageFs;
  readonly #place: MountPlace;
  /** Of its devices, the same whichever process serves it, and never another mount's. */
  readonly #name: string;
  readonly #devices: readonly ErofsDevice[];
  #keeper: Keeper | undefined;
  #id = '';
  #held: Disposable | undefined;
  #disposed = false;

  constructor(fs: ImageFs, place: MountPlace, name: string) {
    this.#fs = fs;
    this.#place = place;
    this.#name = name;
    this.#devices = fs.caches.map(
      (_, index) =>
        new ErofsDevice(fs, index, { name: `${name}.${index}`, recordIn: place.record ? place.cache : undefined }),
    );
  }

  /** Has the events of all devices that are not complete. Before the kernel opens them: afterwards it would not ask. */
  async watchDevices({ all = false } = {}): Promise<void> {
    for (const device of this.#devices) {
      if (!device.needed || (!all && !this.#place.record && device.complete())) continue;
      this.#keeper ??= await this.#place.keeper();
      await device.watch(this.#keeper);
    }
  }

  /**
   * What is missing must have been watched all the time: without a keeper, the kernel let readers through.
   * @throws NaiadError MOUNT_FAILED when it was not; what is mounted may show zeros then.
   */
  async requireEvents(target: string): Promise<void> {
    const missing = this.#devices.filter((device) => !device.complete());
    if (missing.length === 0) return;
    const known = await (await this.#place.keeper()).devices();
    if (missing.every(({ name }) => known.has(name))) return;
    throw new NaiadError(
      'MOUNT_FAILED',
      `erofs: keeper and daemon of ${target} died at once; readers may have seen zeros`,
      {
        hint: 'It is unmounted and mounted anew; start again what was reading from it.',
      },
    );
  }

  /** The path of the bootstrap in the cache, where it stays as long as this does. */
  async holdBootstrap(): Promise<string> {
    const path = await storeBootstrap(this.#place.cache, this.#fs.bootstrap.bytes);
    this.#held = holdFiles([path]);
    return path;
  }

  /** `source` is the path of the bootstrap. */
  async mount(source: string, target: string): Promise<void> {
    // A comma in a path would end the option; a descriptor has none.
    const devices = this.#devices.map(({ dataFd }) => `device=/proc/self/fd/${dataFd}`);
    // Direct reads keep one copy of the data in memory, not two, but those of bytes that were just written wait for the disk.
    const options = [...devices, ...(this.#keeper ? [] : ['directio'])].join(',');
    using _turn = await mounting.acquire();
    for (let attempt = 0; attempt < MOUNT_ATTEMPTS_MAX; attempt++) {
      const before = new Set(readdirSync(EROFS_DIRECTORY));
      await mount({ source, target, type: 'erofs', flags: MS_RDONLY, options });
      const [id, ...others] = readdirSync(EROFS_DIRECTORY).filter((name) => !before.has(name));
      if (id !== undefined && others.length === 0) return await this.mounted(id);
      await umount(target, UMOUNT_NOFOLLOW | MNT_DETACH);
    }
    throw new NaiadError('MOUNT_FAILED', `erofs: other programs mount file systems all the time`);
  }

  /** Goes on from where the kernel has mounted. */
  async mounted(id: string): Promise<void> {
    this.#id = id;
    const readAhead = `/sys/class/bdi/${id}/read_ahead_kb`;
    if (existsSync(readAhead)) writeFileSync(readAhead, String(READ_AHEAD_KIB));
    for (const device of this.#devices) await device.watchPath(join(EROFS_DIRECTORY, id));
    this.ended = this.#watch();
  }

  handover(): Handover | undefined {
    // What the keeper was given of a recording is no map of the cache: nobody else can go on with it.
    if (this.#place.record) return undefined;
    return { state: `${this.#id} ${this.#name}`, descriptors: [] };
  }

  report(): DriverReport {
    const watched = this.#devices.filter((device) => device.watched).length;
    if (watched === 0)
      return { why: ['All data is in the cache: the kernel reads plain local files, without any event.'] };
    if (this.#place.record) return { why: ['Every first read of a chunk raises an event, for the recording.'] };
    const of = this.#devices.length;
    return { why: [`First reads of missing data raise events: ${watched} of ${of} devices are not complete.`] };
  }

  /** Leaves the mount as it is, for the next daemon. */
  release(): Promise<void> {
    this.#disposed = true;
    return Promise.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    // Events end when nobody can read any more. Until then they stay with the keeper, and what is missing is an error.
    for (const device of this.#devices) await device.unwatch({ whenGone: this.#id !== '' });
    this.#held?.[Symbol.dispose]();
  }

  async #watch(): Promise<void> {
    while (!this.#disposed && existsSync(join(EROFS_DIRECTORY, this.#id))) {
      await sleep(WATCH_INTERVAL_MS, undefined, { ref: false });
      for (const device of this.#devices) await device.unwatchWhenComplete();
    }
  }
}

/** Why EROFS with events cannot work here. @throws NaiadError ADDON_MISSING */
function missing(cache: string): NaiadError | undefined {
  if (process.platform !== 'linux') return unavailable('it needs Linux', 'Use another driver.');
  if (process.geteuid?.() !== 0) return unavailable('it needs root (CAP_SYS_ADMIN)', 'Run as root.');
  loadAddon();
  keeperProgram();
  if (!/\berofs$/m.test(readFileSync('/proc/filesystems', 'utf8'))) {
    return unavailable('this kernel has no EROFS', 'Load the module: modprobe erofs.');
  }
  if (!existsSync(EROFS_DIRECTORY)) return unavailable(`${EROFS_DIRECTORY} is missing`, 'Mount sysfs on /sys.');
  try {
    mkdirSync(cache, { recursive: true, mode: 0o700 });
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return unavailable(
      `the cache directory ${cache} cannot be made: ${error.code}`,
      'Choose another with --cache.',
      error,
    );
  }
  const problem = preContentProblem(cache);
  if (!problem) return undefined;
  switch (problem.code) {
    case 'EINVAL':
      return unavailable('this kernel has no pre-content events', 'They came with Linux 6.14.', problem);
    case 'EPERM':
      return unavailable('fanotify is refused', 'It needs CAP_SYS_ADMIN in the first user namespace.', problem);
    default:
      return unavailable(
        `the file system of ${cache} has no pre-content events (${problem.code})`,
        'Put the cache on ext4, xfs or btrfs with --cache or NAIAD_CACHE.',
        problem,
      );
  }
}

function unavailable(message: string, hint: string, cause?: unknown): NaiadError {
  return new NaiadError('DRIVER_UNAVAILABLE', `erofs: ${message}`, { hint, cause });
}
