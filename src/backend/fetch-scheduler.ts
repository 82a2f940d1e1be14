// Decides what is fetched next. A demand goes before what a container will read soon, and that before what nobody waits
// for; neighbours come in one request; what is in flight is bounded by what the line holds. Requests that nobody waits for
// stop taking bytes from the line while somebody waits for another.
import { setMaxListeners } from 'node:events';
import { NaiadError } from '../base/errors.ts';
import {
  FETCH_BACKGROUND_IN_FLIGHT_MAX,
  FETCH_DEADLINE_MS,
  FETCH_GAP_MAX,
  FETCH_HOT_IN_FLIGHT_MAX,
  FETCH_SIZE_MAX,
  FETCHES_IN_FLIGHT_MAX,
} from '../base/limits.ts';
import type { BlobReader } from './blob-reader.ts';
import { type FetchCounters, newFetchCounters, PRIORITIES, type Priority } from './fetch-counters.ts';
import type { FetchUnit } from './fetch-plan.ts';
import { LinkEstimate } from './link-estimate.ts';
import { Transfer, type TransferHost, type TransferJob } from './transfer.ts';

/** A blob that units are fetched of. */
export interface FetchTarget {
  readonly reader: BlobReader;
  /** Ends its transfers. */
  readonly signal: AbortSignal;
  publish(unit: FetchUnit, stored: Uint8Array): Promise<void>;
  /** Units that are not there, ascending by offset: for a blob that comes whole. */
  wanted(): readonly FetchUnit[];
}

export interface FetchSchedulerOptions {
  /** A transfer that finishes nothing for so long is given up. */
  readonly deadlineMs?: number | undefined;
  /** For tests. */
  readonly floorWindowMs?: number | undefined;
  readonly retryDelayMs?: number | undefined;
}

/** How a unit is asked for. */
export interface FetchRequest {
  readonly priority: Priority;
  /** Longer than the scheduler's own where the reader waits longer. */
  readonly deadlineMs?: number | undefined;
  /** Comes with all neighbours in one request, however long that takes: they are stored in the order they are wanted in. */
  readonly stream?: boolean | undefined;
}

const IN_FLIGHT_MAX: Readonly<Record<Priority, number>> = {
  demand: FETCHES_IN_FLIGHT_MAX,
  hot: FETCH_HOT_IN_FLIGHT_MAX,
  background: FETCH_BACKGROUND_IN_FLIGHT_MAX,
};

class Job implements TransferJob {
  readonly unit: FetchUnit;
  readonly queue: TargetQueue;
  priority: Priority;
  transfer: RunningTransfer | undefined;
  readonly #askedMs = performance.now();
  readonly deadlineMs: number;
  readonly stream: boolean;
  readonly #done: (error?: unknown) => void;
  #settled = false;

  constructor(
    queue: TargetQueue,
    unit: FetchUnit,
    { priority, deadlineMs = 0, stream = false }: FetchRequest,
    done: (error?: unknown) => void,
  ) {
    this.queue = queue;
    this.unit = unit;
    this.priority = priority;
    this.deadlineMs = deadlineMs;
    this.stream = stream;
    this.#done = done;
  }

  get settled(): boolean {
    return this.#settled;
  }

  get waitedMs(): number {
    return performance.now() - this.#askedMs;
  }

  settle(error?: unknown): void {
    if (this.#settled) return;
    this.#settled = true;
    this.queue.forget(this, error);
    this.#done(error);
  }
}

interface RunningTransfer {
  priority: Priority;
  readonly bytes: number;
  paused: boolean;
  lastFailure(): NaiadError | undefined;
}

/** What is asked for of one target and has not come. */
class TargetQueue {
  readonly target: FetchTarget;
  /** By chunk. */
  readonly jobs = new Map<number, Job>();
  /** True while the blob comes whole: another request would bring the same bytes. */
  comesWhole = false;
  readonly #onForget: (job: Job, error: unknown) => void;

  constructor(target: FetchTarget, onForget: (job: Job, error: unknown) => void) {
    this.target = target;
    setMaxListeners(0, target.signal); // Every transfer listens while it runs.
    this.#onForget = onForget;
  }

  forget(job: Job, error: unknown): void {
    for (const chunk of job.unit.chunks) if (this.jobs.get(chunk) === job) this.jobs.delete(chunk);
    this.#onForget(job, error);
  }

  /** Jobs that wait for a request, ascending by offset. */
  waiting(): Job[] {
    const jobs = new Set<Job>();
    for (const job of this.jobs.values()) if (!job.transfer) jobs.add(job);
    return [...jobs].sort((a, b) => a.unit.compressedOffset - b.unit.compressedOffset);
  }
}

export class FetchScheduler {
  readonly counters: FetchCounters = newFetchCounters();
  readonly link = new LinkEstimate();
  readonly deadlineMs: number;
  readonly #options: FetchSchedulerOptions;
  readonly #queues = new Map<FetchTarget, TargetQueue>();
  /** In order of asking; what was raised or has come is passed over. */
  readonly #order: Record<Priority, Job[]> = { demand: [], hot: [], background: [] };
  readonly #running = new Set<RunningTransfer>();
  #released: (() => void)[] = [];
  /** Of transfers that could not even connect. */
  readonly #unreachable = new Set<() => void>();

  constructor(options: FetchSchedulerOptions = {}) {
    this.#options = options;
    this.deadlineMs = options.deadlineMs ?? FETCH_DEADLINE_MS;
  }

  /** Asks for a unit that nobody has asked for yet; `done` is called once, later. */
  request(target: FetchTarget, unit: FetchUnit, asked: FetchRequest, done: (error?: unknown) => void): void {
    let queue = this.#queues.get(target);
    if (!queue) {
      queue = new TargetQueue(target, (job, error) => this.#count(job, error));
      this.#queues.set(target, queue);
    }
    const job = new Job(queue, unit, asked, done);
    for (const chunk of unit.chunks) queue.jobs.set(chunk, job);
    this.#order[asked.priority].push(job);
    // After the caller has asked for all it wants, so that neighbours come together.
    queueMicrotask(() => this.#start());
  }

  /** A chunk that was asked for is wanted more urgently. */
  raise(target: FetchTarget, chunk: number, priority: Priority): void {
    const job = this.#queues.get(target)?.jobs.get(chunk);
    if (!job || rank(job.priority) <= rank(priority)) return;
    job.priority = priority;
    if (job.transfer) {
      if (rank(job.transfer.priority) > rank(priority)) job.transfer.priority = priority;
      this.#release();
    } else {
      this.#order[priority].push(job);
      queueMicrotask(() => this.#start());
    }
  }

  /** A chunk is not wanted any more by one who did not wait for it: it is given up, unless a reader waits or it is on its way. */
  withdraw(target: FetchTarget, chunk: number, reason: unknown): void {
    const job = this.#queues.get(target)?.jobs.get(chunk);
    if (job && !job.transfer && job.priority !== 'demand') job.settle(reason);
  }

  /** Gives up what waits for a request; the target's signal ends what is under way. */
  cancel(target: FetchTarget, reason: unknown): void {
    const queue = this.#queues.get(target);
    for (const job of queue?.waiting() ?? []) job.settle(reason);
    if (queue?.jobs.size === 0) this.#queues.delete(target);
  }

  /** Why a chunk has not come yet, as far as that is known. */
  whyNot(target: FetchTarget, chunk: number): NaiadError | undefined {
    return this.#queues.get(target)?.jobs.get(chunk)?.transfer?.lastFailure();
  }

  /** Requests in flight and bytes asked for with them. */
  get inFlight(): { requests: number; bytes: number } {
    let bytes = 0;
    for (const one of this.#running) bytes += one.bytes;
    return { requests: this.#running.size, bytes };
  }

  #start(): void {
    for (const priority of PRIORITIES) {
      while (this.#mayStart(priority)) {
        const first = this.#next(priority);
        if (!first) break;
        this.#run(this.#withNeighbours(first));
      }
    }
  }

  #mayStart(priority: Priority): boolean {
    let [requests, bytes] = [0, 0];
    for (const one of this.#running) {
      if (one.paused || rank(one.priority) > rank(priority)) continue; // What can be held back keeps nobody waiting.
      requests++;
      bytes += one.bytes;
    }
    if (requests >= IN_FLIGHT_MAX[priority]) return false;
    if (priority === 'background' && this.#someoneWaits()) return false;
    return requests === 0 || bytes < this.link.inFlightBytes;
  }

  #next(priority: Priority): Job | undefined {
    const order = this.#order[priority];
    const later: Job[] = [];
    let found: Job | undefined;
    while (order.length > 0 && !found) {
      const job = order.shift() as Job;
      if (job.settled || job.transfer || job.priority !== priority) continue;
      if (job.queue.comesWhole) later.push(job);
      else found = job;
    }
    if (later.length > 0) this.#order[priority] = later.concat(order);
    return found;
  }

  /** `first` and what else waits behind it closely, of at least its priority. */
  #withNeighbours(first: Job): Job[] {
    const jobs = [first];
    const start = first.unit.compressedOffset;
    let end = start + first.unit.compressedSize;
    const sizeMax = first.stream ? Number.POSITIVE_INFINITY : this.link.requestBytes;
    for (const job of first.queue.waiting()) {
      const { compressedOffset, compressedSize } = job.unit;
      if (job === first || compressedOffset < start || rank(job.priority) > rank(first.priority)) continue;
      const unitEnd = compressedOffset + compressedSize;
      if (compressedOffset - end > FETCH_GAP_MAX || unitEnd - start > sizeMax) break;
      jobs.push(job);
      end = Math.max(end, unitEnd);
    }
    return jobs;
  }

  #run(jobs: readonly Job[]): void {
    const [first, last] = [jobs[0] as Job, jobs.at(-1) as Job];
    const { queue } = first;
    const deadlineMs = Math.max(this.deadlineMs, ...jobs.map((job) => job.deadlineMs));
    const size = last.unit.compressedOffset + last.unit.compressedSize - first.unit.compressedOffset;
    const running: RunningTransfer = {
      priority: first.priority,
      // A stream, too, has no more than that on the line at once, and must not keep others from it to its end.
      bytes: Math.min(size, FETCH_SIZE_MAX),
      paused: false,
      lastFailure: () => transfer.lastFailure,
    };
    const transfer = new Transfer(jobs, this.#hostOf(queue, running, deadlineMs));
    this.#running.add(running);
    for (const job of jobs) job.transfer = running;
    transfer
      .run()
      .catch((error) => {
        for (const job of jobs) job.settle(error);
      })
      .finally(() => {
        this.#running.delete(running);
        queue.comesWhole = false;
        if (queue.jobs.size === 0) this.#queues.delete(queue.target);
        if (this.#running.size === 0) this.link.idle();
        this.#release();
        this.#start();
      });
  }

  #hostOf(queue: TargetQueue, running: RunningTransfer, deadlineMs: number): TransferHost {
    const { target } = queue;
    const { floorWindowMs, retryDelayMs } = this.#options;
    return {
      reader: target.reader,
      signal: target.signal,
      deadlineMs,
      floorWindowMs,
      retryDelayMs,
      publish: (unit, stored) => target.publish(unit, stored),
      wanted: () => {
        queue.comesWhole = true;
        return target.wanted();
      },
      extra: (unit) => {
        for (const chunk of unit.chunks) queue.jobs.get(chunk)?.settle();
      },
      onRequest: () => {
        this.counters[running.priority].requests++;
      },
      onAnswer: (delayMs) => {
        this.link.answered(delayMs);
        for (const listener of this.#unreachable) listener();
      },
      onReachable: (listener) => {
        this.#unreachable.add(listener);
        return () => this.#unreachable.delete(listener);
      },
      onBytes: (count, { isHeld }) => {
        this.counters[running.priority].bytes += count;
        if (!isHeld) this.link.arrived(count);
      },
      onEvent: (event) => {
        this.counters[event]++;
      },
      isBackground: () => running.priority === 'background',
      hold: () => {
        if (running.priority !== 'background' || !this.#someoneWaits()) return undefined;
        return new Promise((resolve) => this.#released.push(resolve));
      },
      pausing: (paused) => {
        running.paused = paused;
        this.#release();
        if (paused) this.#start();
      },
    };
  }

  /** True while a reader waits for something that is on its way or may be. */
  #someoneWaits(): boolean {
    for (const one of this.#running) if (one.priority === 'demand' && !one.paused) return true;
    return this.#order.demand.some((job) => !job.settled && !job.transfer && !job.queue.comesWhole);
  }

  /** Lets what was held back look again. */
  #release(): void {
    const released = this.#released;
    this.#released = [];
    for (const resolve of released) resolve();
  }

  #count(job: Job, error: unknown): void {
    const kind = this.counters[job.priority];
    kind.units++;
    if (error !== undefined) kind.errors++;
    kind.waitMsSum += job.waitedMs;
    kind.waitMsMax = Math.max(kind.waitMsMax, job.waitedMs);
  }
}

function rank(priority: Priority): number {
  return PRIORITIES.indexOf(priority);
}

/** The failure of a reader that has waited for long enough. */
export function deadlineFailure(what: string, deadlineMs: number, last: NaiadError | undefined): NaiadError {
  const why = last ? `: ${last.message}` : '';
  return new NaiadError('REGISTRY_UNAVAILABLE', `${what}: no result within ${deadlineMs / 1000} s${why}`, {
    ...(last?.hint ? { hint: last.hint } : {}),
    cause: last,
  });
}
