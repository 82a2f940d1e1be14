// Keeps a cache directory within its limits while it is written to.
import { CACHE_CHECK_BYTES } from '../base/limits.ts';
import type { CachePaths } from './cache-dir.ts';
import { type EvictReport, evict, freeBytes, type SpaceLimits, spaceLimits } from './evict.ts';

/** What a writer of the cache tells and asks. */
export interface Space {
  /** So many bytes were written. */
  wrote(bytes: number): void;
  /** A write of so many bytes found the disk full: true when it is worth trying once more. */
  makeRoom(bytes: number): Promise<boolean>;
}

export interface SpaceCounters {
  evictedItems: number;
  evictedBytes: number;
  /** Writes that found the disk full. */
  fullWrites: number;
  /** Of all items, when it was last looked. */
  bytes: number;
}

export interface SpaceOptions {
  /** Bytes; a share of the file system when undefined. */
  readonly sizeMax?: number | undefined;
  /** Gets failures to make room, which hurt nobody at once. */
  readonly onProblem?: (error: unknown) => void;
}

/** After nothing could be removed, it is not tried again for so long: readers that meet a full disk ask often. */
const FRUITLESS_PAUSE_MS = 1000;
/** One look at the directory must be worth it. */
const FREED_MIN = CACHE_CHECK_BYTES;

export class CacheSpace implements Space, AsyncDisposable {
  readonly counters: SpaceCounters = { evictedItems: 0, evictedBytes: 0, fullWrites: 0, bytes: 0 };
  readonly limits: SpaceLimits;
  readonly #paths: CachePaths;
  readonly #onProblem: (error: unknown) => void;
  #unchecked = 0;
  #checking: Promise<void> | undefined;
  #making: Promise<boolean> | undefined;
  #fruitlessUntil = 0;

  private constructor(paths: CachePaths, limits: SpaceLimits, options: SpaceOptions) {
    this.#paths = paths;
    this.limits = limits;
    this.#onProblem = options.onProblem ?? (() => undefined);
  }

  /** Of a directory that exists. Looks at its size at once. @throws NaiadError IO */
  static async open(paths: CachePaths, options: SpaceOptions = {}): Promise<CacheSpace> {
    const space = new CacheSpace(paths, await spaceLimits(paths, options.sizeMax), options);
    space.#check();
    return space;
  }

  wrote(bytes: number): void {
    this.#unchecked += bytes;
    if (this.#unchecked >= CACHE_CHECK_BYTES) this.#check();
  }

  async makeRoom(bytes: number): Promise<boolean> {
    this.counters.fullWrites++;
    if (Date.now() < this.#fruitlessUntil) return false;
    this.#making ??= this.#makeRoom(bytes).finally(() => {
      this.#making = undefined;
    });
    return await this.#making;
  }

  /** Waits for a look that is under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#checking;
    await this.#making?.catch(() => undefined);
  }

  #check(): void {
    if (this.#checking !== undefined) return;
    this.#unchecked = 0;
    this.#checking = this.#evictToMarks()
      .catch(this.#onProblem)
      .finally(() => {
        this.#checking = undefined;
      });
  }

  async #evictToMarks(): Promise<void> {
    const { sizeMax, freeLow, freeHigh } = this.limits;
    const low = (await freeBytes(this.#paths)) < freeLow;
    this.#count(await evict(this.#paths, { sizeMax, ...(low && { freeMin: freeHigh }) }));
  }

  /** A quota can be used up while the file system has room: what counts is that something goes. */
  async #makeRoom(bytes: number): Promise<boolean> {
    const { freedBytes } = this.#count(await evict(this.#paths, { freedMin: Math.max(bytes, FREED_MIN) }));
    if (freedBytes === 0) this.#fruitlessUntil = Date.now() + FRUITLESS_PAUSE_MS;
    return freedBytes > 0;
  }

  #count(report: EvictReport): EvictReport {
    this.counters.evictedItems += report.removed.length;
    this.counters.evictedBytes += report.freedBytes;
    this.counters.bytes = report.bytes;
    return report;
  }
}
