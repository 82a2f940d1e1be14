// One mount from beginning to end, in the process that serves it: open the image, mount, answer until it is unmounted by
// whomever, and leave nothing behind.
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FetchScheduler } from '../backend/fetch-scheduler.ts';
import { throwIfAborted } from '../base/concurrency.ts';
import { hasCode, NaiadError } from '../base/errors.ts';
import { thisProcess } from '../base/process-identity.ts';
import { holdFiles } from '../cache/hold.ts';
import { hotBlobIdsOf } from '../format/oci/annotations.ts';
import type { Trace } from '../format/trace/trace.ts';
import { closeDescriptors } from '../native/descriptors.ts';
import { cacheDir, metadataDir } from '../store/paths.ts';
import { adoptSpool, type Spool } from '../store/spool.ts';
import { writeTrace } from '../trace/write-trace.ts';
import { type ConvertedImage, metadataDigests } from '../transport/image.ts';
import { BackgroundFill } from './background-fill.ts';
import type { CacheDirectory } from './cache-directory.ts';
import type { DriverMount, MountPlace } from './driver.ts';
import { chooseDriver } from './drivers.ts';
import { monotonicMs } from './first-touches.ts';
import { ImageFs } from './image-fs.ts';
import { KeptMount, keptKey } from './kept-descriptors.ts';
import type { FetchingStatus, MountStatus } from './mount-api.ts';
import type { MountContext } from './mount-context.ts';
import { type MountRecord, mountIdOf, removeRecord, updateRecord } from './mount-record.ts';
import { type MountRequest, pinnedReference, withoutSecrets } from './mount-request.ts';
import { isOurs, mountAt } from './mount-table.ts';
import { checkMountpoint } from './mountpoint.ts';
import { claimMountpoint, makeTarget, mountOnTop, planPlacement, topGone } from './placement.ts';
import { recordedTrace } from './recorded-trace.ts';
import { type RetryOptions, retryOpen } from './retry-open.ts';
import type { SharedImage, WantedImage } from './shared-images.ts';
import { slowReasons } from './slow-reasons.ts';
import { TraceLookup, type TracePlace, type TraceUse } from './trace-source.ts';
import { unmount } from './unmount.ts';

/** After a request to stop, processes in a mount that had to be taken from them get this long. */
const DETACHED_WAIT_MS = 5000;

/** Call `start`, then `cleanUp` however it went. */
export class ServedMount {
  readonly #request: MountRequest;
  readonly #context: MountContext;
  #record: MountRecord;
  #claimed = false;
  /** True when it was mounted by another process. */
  #resumed = false;
  /** True when it is another process' by now. */
  #released = false;
  readonly #kept: KeptMount;
  #shared: SharedImage | undefined;
  #fs: ImageFs | undefined;
  #directory: (CacheDirectory & AsyncDisposable) | undefined;
  #metadata: Disposable | undefined;
  #fill: BackgroundFill | undefined;
  readonly #traceLookup: TraceLookup;
  #traceUse: Promise<TraceUse> = Promise.resolve({});
  #driverMount: DriverMount | undefined;
  #spool: Spool | undefined;
  #unmounted: (() => void) | undefined;
  /** True when it was unmounted lazily, so that there may be users left. */
  #detached = false;
  #stop: AbortSignal | undefined;
  /** On the clock of performance.now(). */
  readonly #beganMs = performance.now();
  readonly #times = { resolvedMs: 0, bootstrapMs: 0 };
  #mountedMs: number | undefined;
  /** Of the monotonic clock; undefined until it can be used. */
  #readyMs: number | undefined;

  /** `request` as `absoluteRequest` makes it; `why` is what led to it. */
  constructor(request: MountRequest, context: MountContext, why: readonly string[] = []) {
    const { mountpoint } = request;
    this.#request = request;
    this.#traceLookup = new TraceLookup(request);
    this.#context = context;
    this.#kept = new KeptMount(context.keeper);
    this.#record = {
      version: 1,
      id: mountIdOf(mountpoint),
      image: request.image,
      mountpoint,
      target: mountpoint,
      cache: cacheDir(request.cache),
      request: withoutSecrets(request),
      process: thisProcess(),
      since: new Date().toISOString(),
      ready: false,
      why,
    };
  }

  get record(): MountRecord {
    return this.#record;
  }

  /** True while the mountpoint is taken by this. */
  get claimed(): boolean {
    return this.#claimed;
  }

  /** @throws NaiadError when it cannot be mounted. */
  async start(signal: AbortSignal): Promise<void> {
    const { state, keeper } = this.#context;
    const { driver, why } = chooseDriver(this.#request.driver, this.#record.cache);
    // Beside the fetching of the image. Whoever needs it hears why it does not start.
    if (driver.resume) keeper.get().catch(() => undefined);
    await claimMountpoint(state, this.#record);
    this.#claimed = true;
    await checkMountpoint(this.#record.mountpoint);
    const image = await this.#open(this.#request.image, signal);
    this.#startFill(); // What is known to be wanted is on its way while the mount is made.
    const placement = await planPlacement(state, this.#record, this.#request);
    this.#spool = placement.spool;
    const reasons = [...this.#record.why, ...(placement.why === undefined ? [] : [placement.why]), why];
    this.#update({ ...placement.change, driver: driver.name, manifestDigest: image.manifestDigest, why: reasons });
    makeTarget(state, this.#record, image.bootstrap);
    this.#driverMount = await driver.mount(this.fs, this.#record.target, this.#place());
    await mountOnTop(state, this.#record);
    throwIfAborted(signal);
    const kept = await this.#prepareHandover();
    this.#shared?.early[Symbol.dispose](); // What the fill did not open until here, others have fetched.
    this.#readyMs = monotonicMs();
    this.#mountedMs = performance.now() - this.#beganMs;
    this.#update({ ...kept, ready: true });
  }

  /**
   * Goes on with a mount that a daemon before this one has left, without unmounting it; `descriptors` are what was kept of
   * it, and are closed by this. Whoever waits in it is answered. While its image cannot be opened, `onRetry` is told why.
   * @throws NaiadError when it cannot; `cleanUp` unmounts it then.
   */
  async resume(left: MountRecord, descriptors: readonly number[], options: RetryOptions): Promise<void> {
    const { handover, driver: name, target } = left;
    this.#record = { ...left, process: thisProcess(), resuming: `It is taken over from process ${left.process.pid}.` };
    this.#claimed = true;
    this.#resumed = true;
    this.#update({});
    try {
      if (left.readWrite?.remove !== undefined) await this.#adoptWritten(left.readWrite.remove);
      await retryOpen(() => this.#open(pinnedReference(left), options.signal, { keptFirst: true }), {
        ...options,
        onRetry: async (error, pauseMs) => {
          await options.onRetry(error, pauseMs);
          await this.#waitForImage(error, pauseMs);
        },
      });
    } catch (error) {
      closeDescriptors(descriptors); // Of a FUSE mount, it ends with the last of them.
      throw error;
    }
    const driver = name && chooseDriver(name, left.cache).driver;
    if (!driver?.resume || !handover) throw new NaiadError('BUG', `${left.mountpoint} cannot be taken over`);
    const own = { state: handover.state, descriptors: this.#kept.adopt(handover, descriptors) };
    this.#driverMount = await driver.resume(this.fs, target, own, this.#place());
    const kept = await this.#prepareHandover();
    this.#readyMs = monotonicMs();
    const why = `Taken over from process ${left.process.pid}: nothing was unmounted.`;
    const others = left.why.filter((line) => !line.startsWith('Taken over '));
    this.#update({ ...kept, resuming: undefined, why: [...others, why] });
    this.#startFill();
  }

  #startFill(): void {
    const first = this.#traceUse.then(({ source, why }) => {
      const others = this.#record.why.filter((line) => !/^(?:The t|T)race /.test(line)); // Of a daemon before this one.
      if (why !== undefined) this.#update({ why: [...others, why] });
      return source ? [source] : [];
    });
    first.catch(() => undefined); // It was ended meanwhile.
    const { prefetch: mode = 'auto', owner } = this.#request;
    const { manifest } = this.image;
    const hotBlobIds = manifest ? hotBlobIdsOf(manifest) : [];
    this.#fill = new BackgroundFill(this.fs, { mode, first, hotBlobIds, forContainer: owner !== undefined });
  }

  /** Stops answering and leaves everything to a daemon that resumes it; false when none could. */
  async release(): Promise<boolean> {
    if (!this.#record.handover || !this.#driverMount?.release) return false;
    this.#released = true;
    await this.#endFill();
    await this.#driverMount.release();
    return true;
  }

  /** What was written would else be taken for that of a dead process. */
  async #adoptWritten(directory: string): Promise<void> {
    this.#spool = await adoptSpool(directory);
    const { path } = this.#spool;
    this.#update({ readWrite: { upper: join(path, 'upper'), work: join(path, 'work'), remove: path } });
  }

  /** Image and caches. */
  async #open(reference: string, signal: AbortSignal, { keptFirst = false } = {}): Promise<ConvertedImage> {
    const { pool, observer } = this.#context;
    const { fetchDeadlineMs } = this.#request;
    const { cache } = this.#record;
    const onResolved = (place: TracePlace) => {
      this.#traceLookup.begin(place);
      this.#times.resolvedMs = performance.now() - this.#beganMs;
    };
    const wanted = { reference, request: this.#request, cache, keptFirst, onResolved };
    const { directory, shared } = await this.#openBoth(wanted, signal);
    const { image, early } = shared;
    this.#times.bootstrapMs = performance.now() - this.#beganMs;
    this.#metadata = holdFiles(metadataDigests(image).map((digest) => join(metadataDir(cache), digest)));
    const readerOf = (blobId: string) => early.of(blobId, image.blobReader(blobId));
    const { bootstrap } = image;
    this.#fs = await ImageFs.open({
      bootstrap,
      readerOf,
      pool,
      directory,
      fetchDeadlineMs,
      observer,
      signal,
      host: image.host,
    });
    throwIfAborted(signal);
    const isHere = this.fs.coverage().every(({ chunks, chunksTotal }) => chunks === chunksTotal);
    const devices = this.fs.caches.map(({ device }) => device);
    this.#traceUse = this.#traceLookup.use({ bootstrap, devices }, { isHere });
    return image;
  }

  /** The registry is asked while the cache is looked through. What came of one is given back when the other fails. */
  async #openBoth(
    wanted: WantedImage,
    signal: AbortSignal,
  ): Promise<{ directory: CacheDirectory; shared: SharedImage }> {
    const { images, directories } = this.#context;
    const noCache = new AbortController();
    const openDirectory = async () => {
      try {
        this.#directory = await directories.open(wanted.cache, this.#request.cacheSizeMax);
        return this.#directory;
      } catch (error) {
        noCache.abort(error);
        throw error;
      }
    };
    const openImage = async () => {
      this.#shared = await images.open(wanted, AbortSignal.any([signal, noCache.signal]));
      return this.#shared;
    };
    const [directory, shared] = await Promise.allSettled([openDirectory(), openImage()]);
    if (directory.status === 'rejected') throw directory.reason;
    if (shared.status === 'rejected') throw shared.reason;
    return { directory: directory.value, shared: shared.value };
  }

  /** After an attempt to open the image of a mount that is there: nothing of it is left, and the record says why. */
  async #waitForImage(error: NaiadError, pauseMs: number): Promise<void> {
    await this.#shared?.[Symbol.asyncDispose]();
    await this.#directory?.[Symbol.asyncDispose]();
    this.#shared = undefined;
    this.#directory = undefined;
    const what = `Its image cannot be opened, which is tried again in ${pauseMs / 1000} s`;
    this.#update({ resuming: `${what}; what is missing in the cache waits: ${error.message}` });
  }

  /** Has the keeper hold what a successor needs, and gives what is to be recorded. That it cannot is no reason not to mount. */
  async #prepareHandover(): Promise<Partial<MountRecord>> {
    const handover = this.#driverMount?.handover?.();
    if (!handover) return {};
    try {
      return { handover: await this.#kept.keep(keptKey(this.#record), handover) };
    } catch (error) {
      if (!(error instanceof NaiadError)) throw error;
      return { why: [...this.#record.why, `It ends with its daemon: ${error.message}`] };
    }
  }

  /** `quickly`: without what takes long to find out. */
  status({ quickly = false } = {}): MountStatus {
    const { fs, image } = this;
    const facts = {
      mount: { ...this.#record, why: [...this.#record.why, ...(this.#driverMount?.report?.().why ?? [])] },
      devices: fs.coverage(),
      counters: fs.counters,
      metadataBytes: image.metadataBytes,
      fetching: fetchingOf(fs.scheduler),
      traffic: image.traffic,
      ...(this.#fill && { prefetch: this.#fill.status }),
      ...(this.#mountedMs !== undefined && { times: { ...this.#times, mountedMs: this.#mountedMs } }),
    };
    return { ...facts, slow: slowReasons(facts, { quickly }) };
  }

  /** What was touched first so far, and of the monotonic clock, when its times begin. */
  async trace(): Promise<{ readonly trace: Trace; readonly sinceMs: number }> {
    const { fs, image } = this;
    const sinceMs = this.#readyMs ?? monotonicMs();
    const devices = fs.caches.map(({ device }) => device);
    const { bootstrap, manifestDigest, name } = image;
    return { trace: await recordedTrace({ bootstrap, devices, manifestDigest, name }, fs.touches, sinceMs), sinceMs };
  }

  /** Until the mount is gone, by `unmount`, by somebody's umount(8), or because of `signal`. */
  async waitForEnd(signal: AbortSignal): Promise<void> {
    this.#stop = signal;
    if (signal.aborted) return;
    const unmounted = new Promise<void>((done) => {
      this.#unmounted = done;
    });
    const over = new AbortController();
    try {
      const ended = this.#driverMount?.ended ?? Promise.resolve();
      await Promise.race([this.#aborted(0), unmounted, ended, topGone(this.#record, over.signal)]);
      if (this.#released) await new Promise<never>(() => undefined); // It ends with this process.
    } finally {
      over.abort();
    }
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
      async () => this.#endFill(),
      async () => this.#unmountAnyhow(),
      async () => this.#writeTrace(),
      async () => {
        if (this.#claimed) removeRecord(this.#context.state, this.#record);
        this.#claimed = false;
      },
      // Processes that still use a mount which was taken out of the tree may finish, at least after "umount --lazy".
      async () => {
        if (this.#detached) await Promise.race([this.#driverMount?.ended, this.#aborted(DETACHED_WAIT_MS)]);
        await this.#driverMount?.[Symbol.asyncDispose]();
      },
      async () => {
        const { handover } = this.#record;
        if (handover) await this.#kept.drop(keptKey(this.#record), handover);
      },
      async () => this.#spool?.[Symbol.asyncDispose](),
      async () => this.#fs?.[Symbol.asyncDispose](),
      async () => this.#metadata?.[Symbol.dispose](),
      async () => this.#directory?.[Symbol.asyncDispose](),
      async () => this.#shared?.[Symbol.asyncDispose](),
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

  /** Takes it out of the tree; `waitForEnd` returns then. @throws NaiadError MOUNTPOINT_BUSY unless `lazy`, … */
  async unmount({ lazy }: { readonly lazy: boolean }): Promise<void> {
    const { mountpoint, target } = this.#record;
    if (target !== mountpoint && isOurs(mountAt(mountpoint))) await unmount(mountpoint, { lazy });
    if (isOurs(mountAt(target))) await unmount(target, { lazy });
    this.#detached ||= lazy;
    this.#unmounted?.();
  }

  async #endFill(): Promise<void> {
    await this.#traceLookup[Symbol.asyncDispose]();
    await this.#fill?.[Symbol.asyncDispose]();
  }

  async #writeTrace(): Promise<void> {
    const { recordTo } = this.#request;
    if (recordTo !== undefined && this.#readyMs !== undefined) writeTrace(recordTo, (await this.trace()).trace);
  }

  async #unmountAnyhow(): Promise<void> {
    if (!this.#driverMount && !this.#resumed) return;
    try {
      await this.unmount({ lazy: false });
    } catch (error) {
      if (!hasCode(error, 'MOUNTPOINT_BUSY')) throw error;
      await this.unmount({ lazy: true });
    }
  }

  #place(): MountPlace {
    const { id, cache } = this.#record;
    const { record, recordTo } = this.#request;
    return { id, cache, record: record ?? recordTo !== undefined, keeper: () => this.#context.keeper.get() };
  }

  #update(change: Partial<MountRecord>): void {
    this.#record = { ...this.#record, ...change };
    updateRecord(this.#context.state, this.#record);
  }

  /** The image, once `start` was called. */
  get image(): ConvertedImage {
    if (!this.#shared) throw new NaiadError('BUG', 'the image is not open');
    return this.#shared.image;
  }

  get fs(): ImageFs {
    if (!this.#fs) throw new NaiadError('BUG', 'the image is not open');
    return this.#fs;
  }
}

function fetchingOf({ counters, inFlight, link }: FetchScheduler): FetchingStatus {
  const { bytesPerSec, delayMs } = link;
  return { counters, inFlight, bytesPerSec, delayMs };
}
