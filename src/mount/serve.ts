// One mount from beginning to end, in the process that serves it: open the image, mount, answer until it is unmounted by
// whomever, and leave nothing behind.
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { throwIfAborted } from '../base/concurrency.ts';
import { hasCode, NaiadError } from '../base/errors.ts';
import { thisProcess } from '../base/process-identity.ts';
import type { CacheSpace } from '../cache/space.ts';
import type { InodeView } from '../image/bootstrap-reader.ts';
import { blobCacheFiles, cacheDir, metadataDir, mountPaths } from '../store/paths.ts';
import type { Spool } from '../store/spool.ts';
import { type ConvertedImage, openConvertedImage } from '../transport/image.ts';
import { formatPlace, locate } from '../transport/locate.ts';
import type { DriverMount, DriverName } from './driver.ts';
import { chooseDriver } from './drivers.ts';
import type { FetchRequest } from './fetch-request.ts';
import { ImageFs } from './image-fs.ts';
import { type MountStatus, serveMountApi } from './mount-api.ts';
import { claimRecord, isServed, type MountRecord, mountIdOf, removeRecord, updateRecord } from './mount-record.ts';
import { mountAt } from './mount-table.ts';
import { checkMountpoint, resolveMountpoint } from './mountpoint.ts';
import { openCacheSpace } from './open-cache.ts';
import { createParts, mountOverlay, planWritable } from './overlay.ts';
import { cleanDead } from './recover.ts';
import { stateRoot } from './state-root.ts';
import { unmount } from './unmount.ts';

export interface MountRequest extends FetchRequest {
  /** Reference of a converted image. */
  readonly image: string;
  readonly mountpoint: string;
  readonly driver: DriverName | 'auto';
  readonly readWrite: boolean;
  /** Keeps what is written below this directory. Only with `readWrite`. */
  readonly upper?: string | undefined;
  readonly platform?: string | undefined;
}

/** `request` as it means the same in any working directory. @throws NaiadError REFERENCE_INVALID, MOUNTPOINT_INVALID. */
export function absoluteRequest(request: MountRequest): MountRequest {
  const place = locate(request.image);
  const image =
    'directory' in place
      ? { ...place, directory: resolve(place.directory) }
      : 'file' in place
        ? { ...place, file: resolve(place.file) }
        : place;
  return {
    ...request,
    image: formatPlace(image),
    mountpoint: resolveMountpoint(request.mountpoint),
    upper: request.upper === undefined ? undefined : resolve(request.upper),
    cache: cacheDir(request.cache),
  };
}

/** How often to look whether somebody unmounted an overlay. */
const WATCH_INTERVAL_MS = 500;
/** After a signal, processes in a mount that had to be taken from them get this long. */
const DETACHED_WAIT_MS = 5000;

/**
 * Mounts and serves until the mount ends: unmounted through the API or by anybody, or `signal`. Calls `onReady` once it
 * can be used.
 * @throws NaiadError when it could not be mounted; nothing is left behind then.
 */
export async function serveMount(
  request: MountRequest,
  options: { readonly signal: AbortSignal; readonly onReady: (status: MountStatus) => void },
): Promise<void> {
  const mount = new ServedMount(request);
  try {
    await mount.start(options.signal);
    options.onReady(mount.status());
    await mount.waitForEnd(options.signal);
  } finally {
    await mount.cleanUp();
  }
}

/** Call `start`, then `cleanUp` however it went. */
export class ServedMount {
  readonly #request: MountRequest;
  readonly #state = stateRoot();
  #record: MountRecord;
  #claimed = false;
  #image: ConvertedImage | undefined;
  #fs: ImageFs | undefined;
  #space: CacheSpace | undefined;
  #driverMount: DriverMount | undefined;
  #api: AsyncDisposable | undefined;
  #spool: Spool | undefined;
  #unmounted: (() => void) | undefined;
  /** True when it was unmounted lazily, so that there may be users left. */
  #detached = false;
  #stop: AbortSignal | undefined;

  constructor(relative: MountRequest) {
    const request = absoluteRequest(relative);
    const { mountpoint } = request;
    this.#request = request;
    this.#record = {
      version: 1,
      id: mountIdOf(mountpoint),
      image: request.image,
      mountpoint,
      target: mountpoint,
      cache: cacheDir(request.cache),
      process: thisProcess(),
      since: new Date().toISOString(),
      ready: false,
      why: [],
    };
  }

  async start(signal: AbortSignal): Promise<void> {
    const { driver, why } = chooseDriver(this.#request.driver);
    await this.#claim();
    checkMountpoint(this.#record.mountpoint);
    const { platform, cacheSizeMax } = this.#request;
    const { cache } = this.#record;
    const space = await openCacheSpace(cache, cacheSizeMax);
    this.#space = space;
    const image = await openConvertedImage(this.#request.image, {
      signal,
      metadataDir: metadataDir(cache),
      ...(platform !== undefined && { platform }),
    });
    this.#image = image;
    const filesOf = (blobId: string, variant?: string) => blobCacheFiles(cache, blobId, variant);
    const readerOf = (blobId: string) => image.blobReader(blobId);
    this.#fs = await ImageFs.open({ bootstrap: image.bootstrap, readerOf, filesOf, space, signal });
    throwIfAborted(signal);
    await this.#planWritable(image.bootstrap.inode(image.bootstrap.rootNid));
    this.#update({ driver: driver.name, manifestDigest: image.manifestDigest, why: [why, ...this.#record.why] });
    this.#driverMount = await driver.mount(this.#fs, this.#record.target);
    await this.#mountOverlay();
    const { socket } = mountPaths(this.#state, this.#record.id);
    this.#api = await serveMountApi(socket, {
      status: () => this.status(),
      unmount: ({ lazy }) => this.#unmount(lazy),
    });
    throwIfAborted(signal);
    this.#update({ ready: true });
  }

  status(): MountStatus {
    const { fs, image } = this;
    return {
      mount: this.#record,
      devices: fs.coverage(),
      counters: fs.counters,
      metadataBytes: image.metadataBytes,
    };
  }

  /** Until the mount is gone, by an API call, by somebody's umount(8), or because of `signal`. */
  async waitForEnd(signal: AbortSignal): Promise<void> {
    this.#stop = signal;
    const unmounted = new Promise<void>((done) => {
      this.#unmounted = done;
    });
    if (signal.aborted) return;
    const ended = this.#driverMount?.ended ?? Promise.resolve();
    await Promise.race([this.#aborted(0), unmounted, ended, this.#overlayGone()]);
  }

  /** Resolves `graceMs` after the signal to stop. */
  async #aborted(graceMs: number): Promise<void> {
    const signal = this.#stop;
    if (!signal?.aborted) await new Promise((done) => signal?.addEventListener('abort', done, { once: true }));
    await sleep(graceMs, undefined, { ref: false });
  }

  /** Unmounts what is still mounted, if need be from under its users, and removes every trace. */
  async cleanUp(): Promise<void> {
    const steps = [
      async () => this.#api?.[Symbol.asyncDispose](),
      async () => this.#unmountAnyhow(),
      async () => {
        if (this.#claimed) removeRecord(this.#state, this.#record);
      },
      // Processes that still use a mount which was taken out of the tree may finish, at least after "umount --lazy".
      async () => {
        if (this.#detached) await Promise.race([this.#driverMount?.ended, this.#aborted(DETACHED_WAIT_MS)]);
        await this.#driverMount?.[Symbol.asyncDispose]();
      },
      async () => this.#spool?.[Symbol.asyncDispose](),
      async () => this.#fs?.[Symbol.asyncDispose](),
      async () => this.#space?.[Symbol.asyncDispose](),
      async () => this.#image?.[Symbol.asyncDispose](),
    ];
    let failure: { error: unknown } | undefined;
    for (const step of steps) {
      try {
        await step();
      } catch (error) {
        failure ??= { error };
      }
    }
    if (failure) throw failure.error;
  }

  async #unmountAnyhow(): Promise<void> {
    if (!this.#driverMount) return;
    try {
      await this.#unmount(false);
    } catch (error) {
      if (!hasCode(error, 'MOUNTPOINT_BUSY')) throw error;
      await this.#unmount(true);
    }
  }

  /** Takes the mountpoint for this process, after clearing away what a dead one left there. */
  async #claim(): Promise<void> {
    for (let attempt = 0; attempt < 2; attempt++) {
      const other = claimRecord(this.#state, this.#record);
      if (!other) {
        this.#claimed = true;
        return;
      }
      if (isServed(other)) {
        const what = other.ready ? 'is mounted there already' : 'is being mounted there';
        throw new NaiadError('MOUNTPOINT_BUSY', `${other.mountpoint}: ${other.image} ${what}`, {
          hint: `naiad umount ${other.mountpoint}`,
        });
      }
      await cleanDead(this.#state, other);
    }
    throw new NaiadError('MOUNTPOINT_BUSY', `${this.#record.mountpoint}: another mount was faster`);
  }

  async #planWritable(root: InodeView): Promise<void> {
    const { id, cache } = this.#record;
    if (!this.#request.readWrite) return;
    const plan = await planWritable({ state: this.#state, cache, upperOption: this.#request.upper });
    this.#spool = plan.spool;
    const { parts } = mountPaths(this.#state, id);
    this.#update({ readWrite: plan.readWrite, target: join(parts, 'lower'), why: [...this.#record.why, plan.why] });
    createParts(parts, plan.readWrite, root);
  }

  async #mountOverlay(): Promise<void> {
    if (this.#record.readWrite) await mountOverlay(mountPaths(this.#state, this.#record.id).parts, this.#record);
  }

  async #overlayGone(): Promise<void> {
    const { mountpoint, readWrite } = this.#record;
    if (!readWrite) return await new Promise<never>(() => undefined);
    while (mountAt(mountpoint)?.type === 'overlay') await sleep(WATCH_INTERVAL_MS, undefined, { ref: false });
  }

  async #unmount(lazy: boolean): Promise<void> {
    const { mountpoint, target, readWrite } = this.#record;
    if (readWrite && mountAt(mountpoint)?.type === 'overlay') await unmount(mountpoint, { lazy });
    if (mountAt(target)?.source === 'naiad') await unmount(target, { lazy });
    this.#detached ||= lazy;
    this.#unmounted?.();
  }

  #update(change: Partial<MountRecord>): void {
    this.#record = { ...this.#record, ...change };
    updateRecord(this.#state, this.#record);
  }

  /** The image, once `start` was called. */
  get image(): ConvertedImage {
    if (!this.#image) throw new NaiadError('BUG', 'the image is not open');
    return this.#image;
  }

  get fs(): ImageFs {
    if (!this.#fs) throw new NaiadError('BUG', 'the image is not open');
    return this.#fs;
  }
}
