// The mounts of one state directory, in one process: begun, ended, and taken up again after a predecessor that died.
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { deferred } from '../base/concurrency.ts';
import { type Code, NaiadError } from '../base/errors.ts';
import { isAlive } from '../base/process-identity.ts';
import type { Bootstrap } from '../image/bootstrap-reader.ts';
import type { Keeper, KeeperState } from '../keeper/keeper.ts';
import type { ListedFill } from '../mount/ask-fill.ts';
import { CacheDirectories, type CacheDirectory } from '../mount/cache-directory.ts';
import { CachePool } from '../mount/cache-pool.ts';
import { type FillProgress, type FillRequest, type FillResult, fillImage } from '../mount/fill-image.ts';
import type { MountObserver } from '../mount/image-fs.ts';
import { KeeperHandle } from '../mount/keeper-handle.ts';
import { forgetDescriptors, keptDescriptors, keptKey } from '../mount/kept-descriptors.ts';
import type { MountStatus } from '../mount/mount-api.ts';
import type { MountContext } from '../mount/mount-context.ts';
import { isServed, listRecords, type MountRecord } from '../mount/mount-record.ts';
import type { MountRequest } from '../mount/mount-request.ts';
import { isOurs, mountAt } from '../mount/mount-table.ts';
import { cleanDead } from '../mount/recover.ts';
import { ServedMount } from '../mount/serve.ts';
import { SharedImages } from '../mount/shared-images.ts';
import { usersOf } from '../mount/unmount.ts';
import { Connections } from '../registry/connections.ts';
import { daemonPaths } from '../store/paths.ts';
import type { KeeperFacts } from './keeper-metrics.ts';
import type { Log } from './log.ts';

interface Entry {
  readonly mount: ServedMount;
  readonly stop: AbortController;
  readonly ready: Promise<MountStatus>;
  /** Resolves when nothing of it is left. Never rejects. */
  readonly ended: Promise<void>;
  serving: boolean;
}

/** So long the mounts of a predecessor may take before this one answers; they go on after that. */
const RESUME_PATIENCE_MS = 5000;

/** Of a keeper that is there and cannot be used: what it keeps must stay as it is until it can, or is unmounted. */
const IN_THE_WAY: readonly Code[] = ['KEEPER_HUNG', 'KEEPER_VERSION'];

interface Beginning {
  readonly mount: ServedMount;
  readonly start: (mount: ServedMount, signal: AbortSignal) => Promise<void>;
  readonly signal: AbortSignal;
}

export interface DaemonOptions {
  /** Starts a successor; what the keeper runs when this process dies. */
  readonly command: readonly string[];
  /** State directory, as `stateRoot` gives it. */
  readonly state: string;
  readonly log: Log;
  readonly observer: MountObserver;
}

export class Daemon {
  readonly state: string;
  readonly #directories = new CacheDirectories();
  readonly #pool = new CachePool();
  readonly #connections = new Connections();
  readonly #keeper: KeeperHandle;
  readonly #log: Log;
  readonly #observer: MountObserver;
  readonly #bootstraps = new Map<string, WeakRef<Bootstrap>>();
  readonly #images = new SharedImages({ bootstraps: this.#bootstraps, connections: this.#connections });
  readonly #entries = new Set<Entry>();
  readonly #fills = new Map<ListedFill, { readonly stop: AbortController; readonly ended: Promise<unknown> }>();
  #stopping = false;

  constructor({ state, log, observer, command }: DaemonOptions) {
    this.#observer = observer;
    this.state = state;
    this.#log = log;
    this.#keeper = new KeeperHandle({ socketPath: daemonPaths(state).keeper, command });
  }

  /** Mounts under way, there, and ending. */
  get size(): number {
    return this.#entries.size;
  }

  /** Mounts, and resolves when it can be used. Nothing is left when it rejects. @throws NaiadError */
  async mount(request: MountRequest, signal: AbortSignal): Promise<MountStatus> {
    if (this.#stopping) throw new NaiadError('DAEMON_MISSING', 'the daemon is stopping');
    const entry = this.#begin(request);
    const onAbort = () => entry.stop.abort(new NaiadError('CANCELED', 'who asked for the mount is gone'));
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    try {
      return await entry.ready;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Mounts of a daemon before this one that are not taken over yet. */
  get resuming(): number {
    return [...this.#entries].filter(({ mount }) => mount.record.resuming !== undefined).length;
  }

  /** What the keeper did; undefined without one. */
  keeperFacts(): KeeperFacts | undefined {
    const keeper = this.#keeper.current;
    return keeper && { journal: keeper.journal, waiting: keeper.waiting };
  }

  /** What the keeper is; undefined without one. */
  async keeperState(): Promise<KeeperState | undefined> {
    return await this.#keeper.current?.state();
  }

  /** Every mount that can be used. */
  list(): MountStatus[] {
    return this.#serving().map(({ mount }) => mount.status());
  }

  /** Limits and use of the cache directories. */
  caches(): readonly CacheDirectory[] {
    return this.#directories.list();
  }

  /** Brings all of an image into the cache, and resolves when it is there. @throws what fillImage throws */
  async fill(request: FillRequest, signal: AbortSignal): Promise<FillResult> {
    if (this.#stopping) throw new NaiadError('DAEMON_MISSING', 'the daemon is stopping');
    const { requestId, image } = request;
    const listed = { requestId, image, bytes: 0, bytesTotal: 0, why: undefined };
    const stop = new AbortController();
    const onAbort = () => stop.abort(new NaiadError('CANCELED', 'who asked for it is gone'));
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    const onProgress = (progress: FillProgress) => void Object.assign(listed, progress);
    const filling = fillImage(request, this.#context(), { signal: stop.signal, onProgress });
    this.#fills.set(listed, { stop, ended: filling.catch(() => undefined) });
    try {
      return await filling;
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#fills.delete(listed);
    }
  }

  /** Images that are being brought. */
  get fills(): readonly ListedFill[] {
    return [...this.#fills.keys()];
  }

  /** What fetches for its mounts. */
  get fetchers(): CachePool['schedulers'] {
    return this.#pool.schedulers;
  }

  /** @throws NaiadError NOT_MOUNTED. */
  find(id: string): ServedMount {
    return this.#find(id).mount;
  }

  /** Ends a mount, or one that is just being made, and resolves when nothing of it is left; after a lazy one, nothing but
   *  its last users. @throws NaiadError NOT_MOUNTED, MOUNTPOINT_BUSY, … */
  async unmount(id: string, options: { readonly lazy: boolean }): Promise<void> {
    const entry = this.#find(id);
    if (!entry.serving) entry.stop.abort(new NaiadError('CANCELED', 'unmounted before it was ready'));
    else await entry.mount.unmount(options);
    if (!options.lazy) return await entry.ended;
    while (entry.mount.claimed) await sleep(5);
  }

  /**
   * Takes up what a predecessor left that died or handed over. Where the driver can go on, nothing is unmounted; the rest
   * is mounted anew, in the background. So is what takes long to be gone on with, as when a registry is down.
   */
  async recover(): Promise<void> {
    const left = listRecords(this.state).filter((record) => !isServed(record));
    const keeper = await this.#keeperOf(left);
    const kept = keeper ? await keptDescriptors(keeper) : new Map<string, number[]>();
    const resuming: Promise<unknown>[] = [];
    for (const record of left) {
      const descriptors = kept.get(keptKey(record)) ?? [];
      if (!canResume(record, descriptors)) {
        await this.#replace(record, descriptors);
        continue;
      }
      kept.delete(keptKey(record));
      resuming.push(this.#resume(record, descriptors));
    }
    if (keeper) await forgetDescriptors(keeper, kept);
    const settled = Promise.all(resuming).then(() => this.#keeper.settle());
    settled.catch((error) => this.#log.error({ error: String(error) }, 'the keeper cannot be told what goes on'));
    await Promise.race([settled.catch(() => undefined), sleep(RESUME_PATIENCE_MS, undefined, { ref: false })]);
  }

  /** The keeper of a predecessor, or a new one where there was one; undefined where none is needed.
   *  @throws NaiadError KEEPER_HUNG, KEEPER_VERSION */
  async #keeperOf(left: readonly MountRecord[]): Promise<Keeper | undefined> {
    const { keeper, keeperLock } = daemonPaths(this.state);
    if (!left.some(({ handover }) => handover) && !existsSync(keeper) && !existsSync(keeperLock)) return undefined;
    try {
      return await this.#keeper.get();
    } catch (error) {
      if (!(error instanceof NaiadError) || IN_THE_WAY.includes(error.code)) throw error;
      this.#log.error({ error: error.message }, 'there is no keeper: mounts of a daemon before this one cannot go on');
      return undefined;
    }
  }

  async #resume(record: MountRecord, descriptors: readonly number[]): Promise<void> {
    const { mountpoint, image, request, process } = record;
    const onRetry = (error: NaiadError) =>
      this.#log.warn({ mountpoint, image, code: error.code, error: error.message }, 'a mount waits for its image');
    const entry = this.#begin(request as MountRequest, [], (mount, signal) =>
      mount.resume(record, descriptors, { signal, onRetry }),
    );
    try {
      await entry.ready;
      this.#log.info({ mountpoint, image, pid: process.pid }, 'taken over');
    } catch (error) {
      if (!(error instanceof NaiadError)) throw error;
      this.#log.error({ mountpoint, image, error: error.message }, 'a mount could not be taken over');
      await entry.ended;
      if (!request?.owner && !entry.stop.signal.aborted) this.#mountAnew(record, request as MountRequest, error);
    }
  }

  /** Unmounts what a dead daemon left and mounts it anew, unless it was for a container, or not ready. */
  async #replace(record: MountRecord, descriptors: readonly number[]): Promise<void> {
    const { request, mountpoint, process, ready, image } = record;
    const problem = isKept(record, descriptors) ? undefined : await this.#reportLost(record);
    try {
      await cleanDead(this.state, record, { lazy: true });
    } catch (error) {
      if (!(error instanceof NaiadError)) throw error;
      this.#log.error({ mountpoint, error: error.message }, 'a mount of a dead daemon cannot be cleaned up');
      return;
    }
    const who = { mountpoint, image, pid: process.pid };
    if (!request || !ready || request.owner) this.#log.warn(who, 'a mount of a dead daemon was removed');
    else this.#mountAnew(record, request, problem);
  }

  /** Of a mount that should have gone on and cannot, what has become of it; undefined for others. Who uses it has to know. */
  async #reportLost({
    handover,
    ready,
    target,
    mountpoint,
    image,
    driver,
  }: MountRecord): Promise<NaiadError | undefined> {
    const places = target === mountpoint ? [target] : [mountpoint, target];
    const entries = places.flatMap((path) => mountAt(path) ?? []).filter(isOurs);
    if (!handover || !ready || entries.length === 0) return undefined; // Nothing is mounted any more after a reboot.
    const users = (await Promise.all(entries.map(usersOf))).flat();
    const what =
      driver === 'erofs' ? 'who read from it since may have got zeros for data' : 'who read from it got errors';
    const problem = new NaiadError('MOUNT_LOST', `so did its keeper: ${what}, and must be started again`);
    this.#log.fatal(
      { mountpoint, image, driver, users, code: problem.code },
      `the daemon died, and ${problem.message}`,
    );
    return problem;
  }

  /** Leaves every mount that can go on without this process to the next one, which the keeper starts, by `command` if given. */
  async handOver(command?: readonly string[]): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#serving().map(({ mount }) => mount.release()));
    await this.#keeper.release(command);
  }

  #mountAnew(record: MountRecord, request: MountRequest, cause?: NaiadError): void {
    const { mountpoint, image, process } = record;
    const what = `Mounted anew: the daemon that served it (process ${process.pid}) died`;
    const why = cause ? `${what}; ${cause.message}.` : `${what}, and files that were open then are lost.`;
    this.#log.warn({ mountpoint, image, pid: process.pid }, why);
    this.#begin(request, [why]).ready.catch(() => undefined); // Logged where it ends.
  }

  /** Unmounts everything, if need be from under its users, and resolves when nothing is left. */
  async stop(reason: NaiadError): Promise<void> {
    this.#stopping = true;
    for (const entry of this.#entries) entry.stop.abort(reason);
    for (const { stop } of this.#fills.values()) stop.abort(reason);
    await Promise.all([...this.#fills.values()].map(({ ended }) => ended));
    await Promise.all([...this.#entries].map(({ ended }) => ended));
    await this.#keeper[Symbol.asyncDispose]();
  }

  #context(): MountContext {
    return {
      ...{ state: this.state, directories: this.#directories, pool: this.#pool, keeper: this.#keeper },
      ...{
        observer: this.#observer,
        bootstraps: this.#bootstraps,
        connections: this.#connections,
        images: this.#images,
      },
    };
  }

  #begin(
    request: MountRequest,
    why: readonly string[] = [],
    start = (mount: ServedMount, signal: AbortSignal) => mount.start(signal),
  ): Entry {
    const mount = new ServedMount(request, this.#context(), why);
    const stop = new AbortController();
    const ready = deferred<MountStatus>();
    const ended = this.#serve({ mount, start, signal: stop.signal }, () => {
      entry.serving = true;
      ready.resolve(mount.status({ quickly: true }));
    }).then(
      () => this.#log.info({ mountpoint: request.mountpoint }, 'unmounted'),
      (error: unknown) => {
        const { code, message } = error instanceof NaiadError ? error : { code: 'BUG', message: String(error) };
        this.#log.error({ mountpoint: request.mountpoint, image: request.image, code }, message);
        ready.reject(error); // Of one that was ready, nobody hears any more.
      },
    );
    const entry: Entry = { mount, stop, ready: ready.promise, serving: false, ended };
    this.#entries.add(entry);
    void ended.finally(() => this.#entries.delete(entry));
    return entry;
  }

  async #serve({ mount, start, signal }: Beginning, onReady: () => void): Promise<void> {
    try {
      await start(mount, signal);
      const { mountpoint, image, driver } = mount.record;
      this.#log.info({ mountpoint, image, driver }, 'mounted');
      onReady();
      await mount.waitForEnd(signal);
    } finally {
      await mount.cleanUp();
    }
  }

  #serving(): Entry[] {
    return [...this.#entries].filter(({ serving, mount }) => serving && mount.claimed);
  }

  #find(id: string): Entry {
    const found = [...this.#entries].find(({ mount }) => mount.record.id === id && mount.claimed);
    if (found) return found;
    throw new NaiadError('NOT_MOUNTED', `no mount has the id ${id}`, { hint: 'naiad status --json lists them.' });
  }
}

function canResume(record: MountRecord, descriptors: readonly number[]): boolean {
  const { request, ready, driver, handover } = record;
  if (!request || !ready || !driver || !handover) return false;
  return (request.owner === undefined || isAlive(request.owner)) && isKept(record, descriptors);
}

/** True when the keeper has all that it was given of a mount. */
function isKept({ handover }: MountRecord, descriptors: readonly number[]): boolean {
  return descriptors.filter((fd) => fd !== undefined).length === handover?.descriptors;
}
