// One device of an EROFS mount: its events while it is not complete, and what is done about them.
import { constants } from 'node:os';
import { isSystemError } from '../base/system-error.ts';
import type { ChunkCache } from '../cache/chunk-cache.ts';
import { KEEPER_ABSENT_CHUNK } from '../format/keeper/records.ts';
import type { Keeper } from '../keeper/keeper.ts';
import type { WatchedRange } from '../keeper/starts.ts';
import { errnoOf } from './errno.ts';
import type { ImageFs } from './image-fs.ts';
import { ShadowMap } from './shadow-map.ts';

/** When reading ahead failed, the kernel reads the page that is waited for once more: a reader must not wait twice as long. */
const RETRY_WINDOW_MS = 1000;

export class ErofsDevice {
  readonly #cache: ChunkCache;
  readonly #blobIndex: number;
  readonly name: string;
  readonly #fs: ImageFs;
  readonly #recordIn: string | undefined;
  #shadow: ShadowMap | undefined;
  #keeper: Keeper | undefined;
  /** Of the last moment: as many as readers waited in vain. */
  #failures: readonly (WatchedRange & { readonly errno: number; readonly untilMs: number })[] = [];
  /** No chunk before this one is missing. */
  #completeUntil = 0;

  /**
   * The device of blob `blobIndex`, under a name for it that is the mount's alone. With `recordIn`, a directory, every first
   * touch of a chunk comes to `fs`, which records it; else only those of what is missing.
   */
  constructor(
    fs: ImageFs,
    blobIndex: number,
    { name, recordIn }: { readonly name: string; readonly recordIn: string | undefined },
  ) {
    this.#recordIn = recordIn;
    this.#cache = fs.caches[blobIndex] as ChunkCache;
    this.#blobIndex = blobIndex;
    this.name = name;
    this.#fs = fs;
  }

  get dataFd(): number {
    return this.#cache.dataFd;
  }

  /** True while the keeper has its events. */
  get watched(): boolean {
    return this.#keeper !== undefined;
  }

  /** False for a device that holds nothing. */
  get needed(): boolean {
    return this.#cache.device.chunks.count > 0;
  }

  /** True when every chunk that the image uses is present. */
  complete(): boolean {
    const { chunks } = this.#cache.device;
    for (; this.#completeUntil < chunks.count; this.#completeUntil++) {
      const size = chunks.uncompressedSize(this.#completeUntil);
      const offset = chunks.uncompressedOffset(this.#completeUntil);
      if (size > 0 && !this.#cache.isReady({ offset, size })) return false;
    }
    return true;
  }

  async watch(keeper: Keeper): Promise<void> {
    const { dataFd, mapFd, readyBitsOffset, device } = this.#cache;
    const starts = this.#cache.starts();
    for (let index = 0; index < starts.length; index++) {
      // Another image that shares the file may have it, at a place that this one does not know.
      if (!device.chunks.present(index)) starts[index] = (starts[index] as bigint) | KEEPER_ABSENT_CHUNK;
    }
    if (this.#recordIn !== undefined) this.#shadow = new ShadowMap(this.#recordIn, device.chunks);
    const map = this.#shadow ? { mapFd: this.#shadow.fd, bitsOffset: 0 } : { mapFd, bitsOffset: readyBitsOffset };
    await keeper.addDevice({
      ...{ name: this.name, dataFd, ...map, starts, size: device.size },
      onRead: (range) => this.#onRead(range),
      complete: () => this.#cache.ensureAround({ offset: 0, size: device.size }),
    });
    this.#keeper = keeper;
  }

  /** `path` exists as long as the device may be read. */
  async watchPath(path: string): Promise<void> {
    await this.#keeper?.watch(this.name, path);
  }

  async unwatch(options: { readonly whenGone?: boolean } = {}): Promise<void> {
    const keeper = this.#keeper;
    this.#keeper = undefined;
    await keeper?.removeDevice(this.name, options);
    this.#shadow?.[Symbol.dispose]();
    this.#shadow = undefined;
  }

  /** Once all is there, the kernel need not ask any more. */
  async unwatchWhenComplete(): Promise<void> {
    if (this.#keeper && !this.#shadow && this.complete()) await this.unwatch();
  }

  /** The errno of a read that has just failed, for the one that the kernel makes of the same page next. */
  #takeFailure({ offset, size }: WatchedRange): number | undefined {
    if (this.#failures.length === 0) return undefined;
    const now = performance.now();
    const recent = this.#failures.filter(({ untilMs }) => now < untilMs);
    const found = recent.find((one) => offset < one.offset + one.size && one.offset < offset + size);
    this.#failures = recent.filter((one) => one !== found);
    return found?.errno;
  }

  async #onRead(range: WatchedRange): Promise<number> {
    const before = this.#takeFailure(range);
    if (before !== undefined) return before;
    const began = performance.now();
    try {
      await this.#fs.fetchBlocks(this.#blobIndex, range);
      this.#shadow?.touched(range);
      return 0;
    } catch (error) {
      const errno = readerErrno(error);
      const now = performance.now();
      const untilMs = now + RETRY_WINDOW_MS;
      if (now - began > RETRY_WINDOW_MS) this.#failures = [...this.#failures, { ...range, errno, untilMs }];
      return errno;
    }
  }
}

/** A quota is told apart from a full disk, as the reader could not otherwise. */
function readerErrno(error: unknown): number {
  const cause = error instanceof Error ? error.cause : undefined;
  return isSystemError(cause) && cause.code === 'EDQUOT' ? constants.errno.EDQUOT : errnoOf(error);
}
