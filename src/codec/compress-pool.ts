// Threads that compress chunks while the main thread reads, digests and writes. Memory is a fixed number of slots that are
// filled, compressed in place and emptied again; who finds none free waits, and so the whole pipeline is bounded.
import { Worker } from 'node:worker_threads';
import { assert } from '../base/assert.ts';
import { deferred } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import type { CompressorName } from '../format/rafs/algorithms.ts';
import { createCompressorInto } from './codec.ts';
import {
  allocateSlot,
  CHUNKS_PER_SLOT_MAX,
  compressSlot,
  type Job,
  type JobDone,
  type SlotMemory,
} from './compress-job.ts';
import type { CompressWorkerData } from './compress-worker.ts';

export interface CompressPoolOptions {
  readonly compressor: CompressorName;
  readonly level?: number | undefined;
  readonly workers: number;
  /** Slots in all. A holder fills one at a time and never waits for a second, so that any number will do. */
  readonly slots: number;
  /** Bytes of a slot, at least the largest chunk. */
  readonly slotSize: number;
}

/** Memory for chunks on their way through the pool. Who acquired it fills it, has it compressed, reads it, releases it. */
export class Slot {
  readonly index: number;
  readonly memory: SlotMemory;
  /** Chunks added, and their bytes. */
  count = 0;
  size = 0;

  constructor(index: number, memory: SlotMemory) {
    this.index = index;
    this.memory = memory;
  }

  /** True when a chunk of `size` bytes still fits. */
  fits(size: number): boolean {
    return this.count < CHUNKS_PER_SLOT_MAX && this.size + size <= this.memory.bytes.length;
  }

  /** Where the next chunk's bytes go; `add` makes them a chunk. */
  room(size: number): Uint8Array {
    assert(this.fits(size), 'a chunk fits the slot it is put in');
    return this.memory.bytes.subarray(this.size, this.size + size);
  }

  add(size: number): void {
    this.memory.sizes[this.count++] = size;
    this.size += size;
  }
}

interface Thread {
  readonly worker: Worker;
  jobs: number;
  cpuMs: number;
}

/** Jobs a worker has at once: one it works on, one that waits at its door. */
const JOBS_PER_WORKER = 2;

export class CompressPool implements AsyncDisposable {
  readonly #free: Slot[];
  readonly #waiting: { resolve: (slot: Slot) => void; reject: (error: unknown) => void }[] = [];
  readonly #threads: Thread[];
  readonly #queue: Job[] = [];
  readonly #running = new Map<number, { resolve: () => void; reject: (error: unknown) => void }>();
  #failure: NaiadError | undefined;
  #closing = false;

  constructor(options: CompressPoolOptions) {
    const memory = Array.from({ length: options.slots }, () => allocateSlot(options.slotSize));
    this.#free = memory.map((slot, index) => new Slot(index, slot));
    const workerData: CompressWorkerData = { slots: memory, compressor: options.compressor, level: options.level };
    // Raw storing is a checksum and no more: not worth a thread.
    const workers = options.compressor === 'none' ? 0 : options.workers;
    this.#threads = Array.from({ length: workers }, () => this.#start(workerData));
  }

  /** Milliseconds of CPU all threads together have taken, the start of each included. */
  get cpuMs(): number {
    return this.#threads.reduce((sum, { cpuMs }) => sum + cpuMs, 0);
  }

  /** A free slot, at once or as soon as there is one; in the order of asking. @throws NaiadError when a worker died */
  acquire(): Slot | Promise<Slot> {
    if (this.#failure) throw this.#failure;
    const slot = this.#free.pop();
    if (slot) return slot;
    const { promise, resolve, reject } = deferred<Slot>();
    this.#waiting.push({ resolve, reject });
    return promise;
  }

  /** Compresses the chunks of `slot` in place. */
  async compress(slot: Slot): Promise<void> {
    if (this.#failure) throw this.#failure;
    if (this.#threads.length === 0) {
      compressSlot(slot.memory, slot.count, createCompressorInto('none', { sizeMax: 0 }));
      return;
    }
    const { promise, resolve, reject } = deferred<void>();
    this.#running.set(slot.index, { resolve, reject });
    this.#queue.push({ slot: slot.index, count: slot.count });
    this.#dispatch();
    await promise;
  }

  release(slot: Slot): void {
    slot.count = 0;
    slot.size = 0;
    const next = this.#waiting.shift();
    if (next) next.resolve(slot);
    else this.#free.push(slot);
  }

  /** Ends the threads, also in the midst of a chunk. Who still waits is told so. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true;
    this.#fail(new NaiadError('CANCELED', 'the compression was given up'));
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
  }

  #start(workerData: CompressWorkerData): Thread {
    const worker = new Worker(new URL('./compress-worker.js', import.meta.url), {
      workerData,
      name: 'naiad-compress',
      // It allocates nearly nothing; the default young generation would grow for no gain.
      resourceLimits: { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 64 },
    });
    const thread: Thread = { worker, jobs: 0, cpuMs: 0 };
    worker.on('message', ({ slot, cpuMs }: JobDone) => {
      thread.jobs--;
      thread.cpuMs = cpuMs;
      this.#running.get(slot)?.resolve();
      this.#running.delete(slot);
      this.#dispatch();
    });
    worker.on('error', (cause) => this.#fail(new NaiadError('BUG', 'a compression thread failed', { cause })));
    worker.on('exit', (code) => {
      if (!this.#closing) this.#fail(new NaiadError('BUG', `a compression thread ended with code ${code}`));
    });
    return thread;
  }

  #dispatch(): void {
    while (this.#queue.length > 0) {
      const idlest = this.#threads.reduce((best, thread) => (thread.jobs < best.jobs ? thread : best));
      if (idlest.jobs >= JOBS_PER_WORKER) return;
      idlest.jobs++;
      idlest.worker.postMessage(this.#queue.shift() as Job);
    }
  }

  #fail(error: NaiadError): void {
    this.#failure ??= error;
    for (const { reject } of this.#running.values()) reject(this.#failure);
    for (const { reject } of this.#waiting) reject(this.#failure);
    this.#running.clear();
    this.#waiting.length = 0;
    this.#queue.length = 0;
  }
}
