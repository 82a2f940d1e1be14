// One run of neighbouring units on its way here: attempts one after the other, a second request beside one that stalls,
// each unit handed over as soon as its last byte has come.
import { setTimeout as sleep } from 'node:timers/promises';
import { deferred, throwIfAborted } from '../base/concurrency.ts';
import { hasCode, NaiadError } from '../base/errors.ts';
import {
  FETCH_FLOOR_BYTES_PER_SEC,
  FETCH_FLOOR_WINDOW_MS,
  FETCH_HEDGES_MAX,
  FETCH_RETRY_DELAY_MAX_MS,
  RETRY_AFTER_MAX_MS,
  RETRY_DELAY_MS,
} from '../base/limits.ts';
import { TransientFailure } from '../base/transient.ts';
import { type BlobReader, type BlobStream, type ByteRange, openStream } from './blob-reader.ts';
import type { FetchUnit } from './fetch-plan.ts';

/** What a transfer brings. `settle` is called once; a second arrival is ignored. */
export interface TransferJob {
  readonly unit: FetchUnit;
  readonly settled: boolean;
  settle(error?: unknown): void;
}

/** What surrounds a transfer. */
export interface TransferHost {
  readonly reader: BlobReader;
  readonly signal: AbortSignal;
  /** Without a unit for so long, what is left is given up. */
  readonly deadlineMs: number;
  readonly floorWindowMs?: number | undefined;
  readonly retryDelayMs?: number | undefined;
  /** Verifies and publishes a unit. @throws NaiadError CHUNK_… when the bytes are wrong */
  publish(unit: FetchUnit, stored: Uint8Array): Promise<void>;
  /** What else could be used of a blob that comes whole: ascending, without what is there. */
  wanted(): readonly FetchUnit[];
  /** A unit that was published though this transfer was not asked for it. */
  extra(unit: FetchUnit): void;
  onRequest(): void;
  onAnswer(delayMs: number): void;
  /** `isHeld`: they came earlier, and say nothing of the line. */
  onBytes(count: number, how: { readonly isHeld: boolean }): void;
  onEvent(event: 'stalls' | 'hedges' | 'retries' | 'wholeBlobs' | 'badUnits'): void;
  /** True while nobody waits for what it brings. */
  isBackground(): boolean;
  /** Holds a transfer back that nobody waits for while somebody waits for another; undefined when it may go on. */
  hold(): Promise<void> | undefined;
  /** Calls once the source answers anybody, unless it is taken back before. */
  onReachable(listener: () => void): () => void;
  /** While a transfer pauses between attempts it takes no place. */
  pausing(paused: boolean): void;
}

/** A unit that came with wrong bytes is asked for once more. */
const BAD_TRIES_MAX = 2;

export class Transfer {
  readonly #host: TransferHost;
  #pending: TransferJob[];
  /** Units that came wrong; how often from a place that nothing better is known than. */
  readonly #badTries = new Map<TransferJob, number>();
  /** Streams that were left because another place is asked now. */
  readonly #leftFor = new WeakSet<BlobStream>();
  readonly #publishing = new Set<TransferJob>();
  #progressMs = performance.now();
  #lastFailure: NaiadError | undefined;
  #hedges = 0;
  #received = 0;
  #held = false;

  /** `jobs` ascending by offset. */
  constructor(jobs: readonly TransferJob[], host: TransferHost) {
    this.#pending = [...jobs];
    this.#host = host;
  }

  /** Why the last attempt failed, for those who stop waiting. */
  get lastFailure(): NaiadError | undefined {
    return this.#lastFailure;
  }

  /** Settles every job; never throws. */
  async run(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        throwIfAborted(this.#host.signal);
        // What did not come the usual way is at its origin.
        await this.#attempt(attempt % 2 === 0);
      } catch (error) {
        if (!(error instanceof TransientFailure)) return this.#giveUp(error);
        this.#lastFailure = error.failure;
        if (!(await this.#pause(attempt, error))) return this.#giveUp(this.#lastFailure);
      }
      if (this.#left().length === 0) return;
    }
  }

  #left(): TransferJob[] {
    this.#pending = this.#pending.filter((job) => !job.settled);
    return this.#pending;
  }

  #giveUp(error: unknown): void {
    for (const job of this.#left()) job.settle(error);
  }

  /** False when the time is used up. */
  async #pause(attempt: number, failure: TransientFailure): Promise<boolean> {
    const { signal, deadlineMs, retryDelayMs = RETRY_DELAY_MS } = this.#host;
    const backoff = Math.min(FETCH_RETRY_DELAY_MAX_MS, retryDelayMs * 2 ** Math.min(attempt - 1, 16));
    const jittered = backoff / 2 + Math.random() * (backoff / 2);
    const asked = Math.min(failure.retryAfterMs ?? 0, RETRY_AFTER_MAX_MS);
    const ms = asked > 0 ? asked + jittered / 4 : jittered;
    if (performance.now() + ms - this.#progressMs > deadlineMs) return false;
    this.#host.onEvent('retries');
    this.#host.pausing(true);
    const over = new AbortController();
    const end = () => over.abort();
    signal.addEventListener('abort', end, { once: true });
    // Where another one gets through, so does this one.
    const takeBack = failure.unreachable ? this.#host.onReachable(end) : undefined;
    // Closed: the next attempt says so.
    await sleep(signal.aborted ? 0 : ms, undefined, { signal: over.signal }).catch(() => undefined);
    takeBack?.();
    signal.removeEventListener('abort', end);
    this.#host.pausing(false);
    return true;
  }

  /** One request, and others beside it when it stalls; ends when nothing is left or all of them have failed. */
  async #attempt(fromOrigin: boolean): Promise<void> {
    const running = new Set<AbortController>();
    let failure: { error: unknown } | undefined;
    const onAbort = () => {
      for (const one of running) one.abort(this.#host.signal.reason);
    };
    this.#host.signal.addEventListener('abort', onAbort);
    let wake = () => {};
    const start = (beside = false) => {
      const controller = new AbortController();
      running.add(controller);
      this.#stream(controller.signal, fromOrigin || beside)
        .catch((error) => {
          failure = { error };
        })
        .finally(() => {
          running.delete(controller);
          wake();
        });
    };
    try {
      start();
      for (let before = this.#received; running.size > 0; before = this.#received) {
        const ended = new Promise<void>((resolve) => {
          wake = resolve;
        });
        const size = running.size;
        await this.#windowOrEnd(ended, () => running.size < size);
        if (this.#left().length === 0 && !this.#drains) break;
        if (running.size > 0) this.#watch(running, this.#received - before, () => start(true));
      }
    } finally {
      this.#host.signal.removeEventListener('abort', onAbort);
      // The first right answer wins.
      for (const one of running) one.abort(new NaiadError('CANCELED', 'another answer came first'));
    }
    if (this.#left().length > 0 && failure) throw failure.error;
  }

  /** True while a whole blob comes, which is worth taking to its end. */
  #drains = false;

  async #windowOrEnd(ended: Promise<void>, isOver: () => boolean): Promise<void> {
    if (isOver()) return;
    const timer = new AbortController();
    const window = sleep(this.#host.floorWindowMs ?? FETCH_FLOOR_WINDOW_MS, undefined, { signal: timer.signal });
    await Promise.race([ended, window.catch(() => undefined)]);
    timer.abort();
  }

  /** Sends another request when too little came; gives up when nothing was finished for too long. */
  #watch(running: ReadonlySet<AbortController>, received: number, start: () => void): void {
    const { deadlineMs, floorWindowMs = FETCH_FLOOR_WINDOW_MS } = this.#host;
    const enough = received >= (FETCH_FLOOR_BYTES_PER_SEC * floorWindowMs) / 1000;
    if (this.#held || enough) {
      this.#progressMs = performance.now();
      return;
    }
    if (performance.now() - this.#progressMs > deadlineMs) {
      const failure = new NaiadError('REGISTRY_UNAVAILABLE', `${this.#host.reader.name}: nothing came in time`);
      this.#lastFailure ??= failure;
      for (const one of running) one.abort(failure);
      return;
    }
    this.#host.onEvent('stalls');
    if (this.#hedges >= FETCH_HEDGES_MAX || this.#drains) return;
    this.#hedges++;
    this.#host.onEvent('hedges');
    const [oldest] = running;
    if (running.size > 1) oldest?.abort(new NaiadError('CANCELED', 'it stalled, as the one after it'));
    start();
  }

  async #stream(signal: AbortSignal, fromOrigin: boolean): Promise<void> {
    const left = this.#left().filter((job) => !this.#publishing.has(job));
    if (left.length === 0) return;
    const range = rangeOf(left.map(({ unit }) => unit));
    const { reader } = this.#host;
    this.#host.onRequest();
    const askedMs = performance.now();
    const stream = await openStream(reader, range, signal, { background: this.#host.isBackground(), fromOrigin });
    this.#host.onAnswer(stream.early?.answerMs ?? performance.now() - askedMs);
    const whole = stream.offset < range.offset;
    if (whole) {
      this.#host.onEvent('wholeBlobs');
      this.#drains = true;
    }
    try {
      await this.#take(stream, whole ? this.#withExtras(left) : left, signal);
    } finally {
      if (whole) this.#drains = false;
    }
    if (this.#leftFor.has(stream)) return;
    // Nothing failed, and not all came: a source that ends early, or units that overlap.
    if (this.#left().some((job) => left.includes(job) && !this.#publishing.has(job) && !this.#badTries.has(job))) {
      throw new TransientFailure(new NaiadError('REGISTRY_PROTOCOL', `${reader.name}: the answer ended early`));
    }
  }

  /** All that a whole blob brings: what was asked for, and what nobody has asked for yet. */
  #withExtras(jobs: readonly TransferJob[]): TransferJob[] {
    const asked = new Set(jobs.map(({ unit }) => unit.compressedOffset));
    const extras = this.#host.wanted().filter((unit) => !asked.has(unit.compressedOffset));
    const all = [...jobs, ...extras.map((unit) => extraJob(unit, () => this.#host.extra(unit)))];
    return all.sort((a, b) => a.unit.compressedOffset - b.unit.compressedOffset);
  }

  /** Cuts the stream into units. Leaves as soon as there is nothing more to come for, or what comes is wrong and another has it. */
  async #take(stream: BlobStream, jobs: readonly TransferJob[], signal: AbortSignal): Promise<void> {
    let position = stream.offset;
    let next = 0;
    let unfinished: UnitBytes | undefined;
    let held = stream.early?.bytes ?? 0;
    for await (const piece of stream.pieces) {
      this.#received += piece.length;
      this.#host.onBytes(piece.length, { isHeld: held > 0 });
      held -= piece.length;
      const end = position + piece.length;
      while (next < jobs.length) {
        const job = jobs[next] as TransferJob;
        const { compressedOffset: start, compressedSize: size } = job.unit;
        if (start >= end) break;
        // Behind us already: overlapping units need a request of their own.
        if (start >= position || unfinished) {
          const from = Math.max(start, position);
          const part = piece.subarray(from - position, Math.min(end, start + size) - position);
          if (unfinished) unfinished.add(part);
          else unfinished = new UnitBytes(part, size);
          if (start + size > end) break;
          if (await this.#finish(job, unfinished.bytes, stream)) return;
          throwIfAborted(signal);
        }
        unfinished = undefined;
        next++;
      }
      position = end;
      if (next >= jobs.length) return;
      const hold = this.#host.hold();
      if (hold === undefined) continue;
      this.#held = true;
      await untilAborted(hold, signal);
      this.#held = false;
      throwIfAborted(signal);
    }
  }

  /** True when the rest should come from elsewhere. */
  async #finish(job: TransferJob, stored: Uint8Array, stream: BlobStream): Promise<boolean> {
    if (job.settled || this.#publishing.has(job)) return false;
    this.#publishing.add(job);
    try {
      await this.#host.publish(job.unit, stored);
      this.#progressMs = performance.now();
      job.settle();
    } catch (error) {
      if (!hasCode(error, 'CHUNK_DIGEST_MISMATCH', 'CHUNK_INVALID')) job.settle(error);
      else return this.#wrong(job, error, stream);
    } finally {
      this.#publishing.delete(job);
    }
    return false;
  }

  #wrong(job: TransferJob, error: unknown, stream: BlobStream): boolean {
    this.#host.onEvent('badUnits');
    const elsewhere = stream.distrust?.() ?? false;
    const tries = (this.#badTries.get(job) ?? 0) + (elsewhere ? 0 : 1);
    this.#badTries.set(job, tries);
    if (tries >= BAD_TRIES_MAX) job.settle(error);
    if (elsewhere) this.#leftFor.add(stream);
    return elsewhere;
  }
}

/** What has come of a unit: where it came to, as long as its pieces follow each other in memory; else a copy. */
class UnitBytes {
  readonly #size: number;
  #bytes: Uint8Array;
  #isCopy = false;

  constructor(first: Uint8Array, size: number) {
    this.#bytes = first;
    this.#size = size;
  }

  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** The next piece, in time: what came before it may not be looked at any more after the piece that follows it. */
  add(piece: Uint8Array): void {
    const { buffer, byteOffset, length } = this.#bytes;
    const follows = piece.buffer === buffer && piece.byteOffset === byteOffset + length;
    if (!this.#isCopy && follows) {
      this.#bytes = new Uint8Array(buffer, byteOffset, length + piece.length);
      return;
    }
    if (!this.#isCopy) {
      this.#isCopy = true;
      const copy = new Uint8Array(this.#size);
      copy.set(this.#bytes);
      this.#bytes = copy.subarray(0, length);
    }
    const { buffer: memory } = this.#bytes;
    this.#bytes = new Uint8Array(memory, 0, length + piece.length);
    this.#bytes.set(piece, length);
  }
}

/** Resolves with `promise`, or when `signal` fires. */
async function untilAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  const aborted = deferred<void>();
  const onAbort = () => aborted.resolve();
  if (signal.aborted) return;
  signal.addEventListener('abort', onAbort, { once: true });
  await Promise.race([promise, aborted.promise]);
  signal.removeEventListener('abort', onAbort);
}

function extraJob(unit: FetchUnit, onDone: () => void): TransferJob {
  let settled = false;
  return {
    unit,
    get settled() {
      return settled;
    },
    settle(error?: unknown) {
      settled = true;
      if (error === undefined) onDone();
    },
  };
}

function rangeOf(units: readonly FetchUnit[]): ByteRange {
  const offset = (units[0] as FetchUnit).compressedOffset;
  const end = Math.max(...units.map((unit) => unit.compressedOffset + unit.compressedSize));
  return { offset, size: end - offset };
}
