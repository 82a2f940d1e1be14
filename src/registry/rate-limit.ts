// What a host lets through. One that says "too many" is left alone for as long as it asks, by everyone at once, and then asked
// by few, more of them as it keeps answering: else those who were refused come back together and are refused again.
import { setTimeout as sleep } from 'node:timers/promises';
import { abortReason, deferred } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { REGISTRY_CONNECTIONS_MAX, RETRY_AFTER_MAX_MS } from '../base/limits.ts';
import { TransientFailure } from '../base/transient.ts';
import { type Exchange, type HttpRequest, type HttpResponse, headerOf, retryAfterMs } from './exchange.ts';

/** What a registry says may still be asked (Docker Hub). */
export interface Quota {
  readonly limit: number | undefined;
  readonly remaining: number | undefined;
  /** Seconds in which `limit` counts. */
  readonly windowSec: number | undefined;
}

export class RateLimit {
  readonly #host: string;
  readonly #clock: () => number;
  #untilMs = 0;
  /** Requests without a body that may wait for an answer at once. */
  #slots = Number.POSITIVE_INFINITY;
  #inFlight = 0;
  /** When `#slots` was cut last: what was sent before does not cut it again. */
  #cutMs = Number.NEGATIVE_INFINITY;
  #answered = 0;
  readonly #waiting: (() => void)[] = [];
  #quota: Quota | undefined;

  /** `clock` counts milliseconds that only grow. */
  constructor(host: string, clock: () => number = () => performance.now()) {
    this.#host = host;
    this.#clock = clock;
  }

  /** As of the last answer that said so. */
  get quota(): Quota | undefined {
    return this.#quota;
  }

  /** Sends through `next` when the host may be asked; a request that does not wait for its turn fails instead. */
  async send(request: HttpRequest, next: Exchange): Promise<HttpResponse> {
    if (this.#untilMs > 0 || this.#inFlight >= this.#slots) await this.#turn(request);
    // A body may take long to send, and come from the same host: it holds up nobody.
    const counts = request.body === undefined;
    if (counts) this.#inFlight++;
    const sentMs = this.#clock();
    try {
      const response = await next(request);
      this.#note(response, sentMs);
      return response;
    } finally {
      if (counts) this.#inFlight--;
      this.#waiting.shift()?.();
    }
  }

  async #turn(request: HttpRequest): Promise<void> {
    for (;;) {
      const leftMs = this.#untilMs - this.#clock();
      if (leftMs <= 0) {
        if (request.body !== undefined || this.#inFlight < this.#slots) return;
        await this.#wait(request, this.#place());
      } else {
        if (request.whenLimited === 'fail') throw new TransientFailure(this.#refusal(), leftMs);
        await this.#wait(request, sleep(leftMs, undefined, request.signal ? { signal: request.signal } : {}));
      }
    }
  }

  /** Until one that is under way has its answer. */
  #place(): Promise<void> {
    const { promise, resolve } = deferred<void>();
    this.#waiting.push(resolve);
    return promise;
  }

  async #wait({ signal }: HttpRequest, turn: Promise<unknown>): Promise<void> {
    const aborted = deferred<void>();
    const onAbort = () => aborted.resolve();
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      await Promise.race([turn.catch(() => {}), ...(signal ? [aborted.promise] : [])]);
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
    if (!signal?.aborted) return;
    // The turn goes to someone else.
    turn.then(() => this.#waiting.shift()?.()).catch(() => {});
    const reason = abortReason(signal);
    throw reason.kind === 'canceled' ? reason : new TransientFailure(this.#refusal());
  }

  #refusal(): NaiadError {
    const seconds = Math.ceil(Math.max(0, this.#untilMs - this.#clock()) / 1000);
    return new NaiadError('REGISTRY_UNAVAILABLE', `${this.#host} limits requests: not before ${seconds} s`, {
      hint: 'Try later, or log in: accounts often may ask more than nobody.',
    });
  }

  #note(response: HttpResponse, sentMs: number): void {
    this.#quota = quotaOf(response) ?? this.#quota;
    const { status } = response;
    const askedMs = status === 429 || status === 503 ? retryAfterMs(response) : undefined;
    if (status === 429 && sentMs > this.#cutMs) {
      this.#cutMs = this.#clock();
      this.#slots = Math.max(1, Math.floor(Math.min(this.#inFlight, REGISTRY_CONNECTIONS_MAX) / 2));
      this.#answered = 0;
    } else if (status < 400 && ++this.#answered >= this.#slots) {
      this.#answered = 0;
      this.#slots = this.#slots + 1 >= REGISTRY_CONNECTIONS_MAX ? Number.POSITIVE_INFINITY : this.#slots + 1;
      // One more than the one whose turn it is anyway.
      this.#waiting.shift()?.();
    }
    if (askedMs) this.#untilMs = Math.max(this.#untilMs, this.#clock() + Math.min(askedMs, RETRY_AFTER_MAX_MS));
  }
}

/** `ratelimit-limit: 100;w=21600`, `ratelimit-remaining: 98;w=21600`. */
function quotaOf(response: HttpResponse): Quota | undefined {
  const limit = headerOf(response, 'ratelimit-limit');
  const remaining = headerOf(response, 'ratelimit-remaining');
  if (limit === undefined && remaining === undefined) return undefined;
  const count = (text: string | undefined) => {
    const digits = /^(\d{1,12})(?:;|$)/.exec(text ?? '')?.[1];
    return digits === undefined ? undefined : Number(digits);
  };
  const window = /;\s*w=(\d{1,9})/.exec(`${limit};${remaining}`)?.[1];
  return {
    limit: count(limit),
    remaining: count(remaining),
    windowSec: window === undefined ? undefined : Number(window),
  };
}

/** Of this process: its mounts share what a host allows. */
const LIMITS = new Map<string, RateLimit>();
/** More than one process asks. */
const HOSTS_MAX = 1000;

/** The limit of an origin. */
export function rateLimitOf(url: URL): RateLimit {
  const known = LIMITS.get(url.origin);
  if (known) return known;
  const [oldest] = LIMITS.keys();
  if (LIMITS.size >= HOSTS_MAX && oldest !== undefined) LIMITS.delete(oldest);
  const limit = new RateLimit(url.host);
  LIMITS.set(url.origin, limit);
  return limit;
}
