// Chunks are compressed on the threads of Node's pool while the main thread reads, digests and writes. Memory is a fixed number
// of slots that are filled, compressed in place and emptied again; who finds none free waits, and so the whole pipeline is bounded.
import { assert } from '../base/assert.ts';
import { deferred, Lanes } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { type CompressInto, createCompressorInto, ZSTD_LEVEL_DEFAULT } from '../codec/codec.ts';
import { createCollector } from '../codec/collect.ts';
import { crcLibrary } from '../codec/libraries.ts';
import type { CompressorName } from '../format/rafs/algorithms.ts';
import { addonIfBuilt } from '../native/load.ts';

export interface CompressPoolOptions {
  readonly compressor: CompressorName;
  readonly level?: number | undefined;
  /** Slots that are compressed at once. */
  readonly workers: number;
  /** Slots in all. A holder fills one at a time and never waits for a second, so that any number will do. */
  readonly slots: number;
  /** Bytes of a slot, at least the largest chunk. */
  readonly slotSize: number;
}

/** Chunks of one slot: enough to fill 1 MiB with files of 1 KiB. */
export const CHUNKS_PER_SLOT_MAX = 1024;

/** Memory for chunks on their way through the pool. Who acquired it fills it, has it compressed, reads it, releases it. */
export class Slot {
  /** Chunks, back to back from the start; once compressed, the stored bytes likewise. */
  readonly bytes: Uint8Array;
  /** Bytes of each chunk, as it came. */
  readonly sizes = new Uint32Array(CHUNKS_PER_SLOT_MAX);
  /** Bytes of each chunk as stored; equal to its size when it is stored raw. */
  readonly storedSizes = new Uint32Array(CHUNKS_PER_SLOT_MAX);
  /** CRC-32C of each chunk as it came. */
  readonly crcs = new Uint32Array(CHUNKS_PER_SLOT_MAX);
  /** Chunks added, and their bytes. */
  count = 0;
  size = 0;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
  }

  /** True when a chunk of `size` bytes still fits. */
  fits(size: number): boolean {
    return this.count < CHUNKS_PER_SLOT_MAX && this.size + size <= this.bytes.length;
  }

  /** Where the next chunk's bytes go; `add` makes them a chunk. */
  room(size: number): Uint8Array {
    assert(this.fits(size), 'a chunk fits the slot it is put in');
    return this.bytes.subarray(this.size, this.size + size);
  }

  add(size: number): void {
    this.crcs[this.count] = crcLibrary().crc32c(this.room(size));
    this.sizes[this.count++] = size;
    this.size += size;
  }
}

export class CompressPool implements AsyncDisposable {
  /** CPU seconds that compressing took on threads of Node's pool. */
  cpuSeconds = 0;

  readonly #free: Slot[];
  readonly #waiting: { resolve: (slot: Slot) => void; reject: (error: unknown) => void }[] = [];
  readonly #lanes: Lanes;
  readonly #running = new Set<Promise<void>>();
  readonly #compress: (slot: Slot) => Promise<void> | undefined;
  #failure: NaiadError | undefined;

  constructor(options: CompressPoolOptions) {
    this.#free = Array.from({ length: options.slots }, () => new Slot(options.slotSize));
    this.#lanes = new Lanes(options.workers);
    this.#compress = this.#createCompress(options);
  }

  /** A free slot, at once or as soon as there is one; in the order of asking. @throws NaiadError CANCELED */
  acquire(): Slot | Promise<Slot> {
    if (this.#failure) throw this.#failure;
    const slot = this.#free.pop();
    if (slot) return slot;
    const { promise, resolve, reject } = deferred<Slot>();
    this.#waiting.push({ resolve, reject });
    return promise;
  }

  /** Compresses the chunks of `slot` in place. @throws NaiadError CANCELED, BUG */
  async compress(slot: Slot): Promise<void> {
    using _lane = await this.#lanes.acquire();
    if (this.#failure) throw this.#failure;
    const running = this.#compress(slot);
    if (!running) return;
    this.#running.add(running);
    try {
      await running;
    } finally {
      this.#running.delete(running);
    }
    if (this.#failure) throw this.#failure;
  }

  release(slot: Slot): void {
    slot.count = 0;
    slot.size = 0;
    const next = this.#waiting.shift();
    if (next) next.resolve(slot);
    else this.#free.push(slot);
  }

  /** Waits for the slots that are being compressed, for no others. Who still waits is told so. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#failure ??= new NaiadError('CANCELED', 'the compression was given up');
    for (const { reject } of this.#waiting) reject(this.#failure);
    this.#waiting.length = 0;
    await Promise.allSettled(this.#running);
  }

  #createCompress({ compressor, level, slotSize }: CompressPoolOptions): (slot: Slot) => Promise<void> | undefined {
    const addon = compressor === 'zstd' ? addonIfBuilt() : undefined;
    if (addon) {
      return async ({ bytes, sizes, storedSizes, count }) => {
        const seconds = await addon.zstdCompress(
          bytes,
          sizes.subarray(0, count),
          storedSizes,
          level ?? ZSTD_LEVEL_DEFAULT,
        );
        if (seconds < 0) throw new NaiadError('BUG', 'zstd does not compress a chunk');
        this.cpuSeconds += seconds;
      };
    }
    const compress = createCompressorInto(compressor, { level, sizeMax: slotSize });
    const handedOut = compressor === 'lz4' ? createCollector() : undefined;
    return (slot) => {
      compressSlot(slot, compress);
      handedOut?.(slot.bytes.length);
      return undefined;
    };
  }
}

/**
 * Compresses the chunks of `slot` in place: stored bytes never outgrow their chunk, so they are gathered at the front while the
 * chunks behind are still to be read.
 */
function compressSlot({ bytes, sizes, storedSizes, count }: Slot, compress: CompressInto): void {
  let from = 0;
  let to = 0;
  for (let i = 0; i < count; i++) {
    const size = sizes[i] as number;
    const stored = compress(bytes.subarray(from, from + size));
    if (stored) bytes.set(stored, to);
    else if (to < from) bytes.copyWithin(to, from, from + size);
    storedSizes[i] = stored ? stored.length : size;
    from += size;
    to += storedSizes[i] as number;
  }
}
