// Where a registry sent us for a blob: kept while it is good, so that each range costs one request and not two.
import { REDIRECT_LIFETIME_MS } from '../base/limits.ts';
import type { HttpResponse } from './exchange.ts';

/** Before its end, so that a request that starts now is still answered. */
const MARGIN_MS = 10_000;

export class SignedAddress {
  #url: URL | undefined;
  #from: HttpResponse | undefined;
  #untilMs = 0;
  readonly #clock: () => number;

  /** `clock` counts milliseconds since 1970. */
  constructor(clock: () => number = Date.now) {
    this.#clock = clock;
  }

  /** The address while it can be expected to work. */
  get current(): URL | undefined {
    return this.#clock() < this.#untilMs ? this.#url : undefined;
  }

  /** The answer that it was kept of. */
  get from(): HttpResponse | undefined {
    return this.#from;
  }

  /** Keeps where an answer came from. */
  keep(answer: HttpResponse): void {
    const { url } = answer;
    this.#url = url;
    this.#from = answer;
    this.#untilMs = this.#clock() + lifetimeMs(url.searchParams, this.#clock()) - MARGIN_MS;
  }

  drop(): void {
    this.#untilMs = 0;
  }
}

/** How long an address that was just given out is good, from the parameters that storage services sign. */
function lifetimeMs(query: URLSearchParams, nowMs: number): number {
  const seconds = query.get('X-Amz-Expires') ?? query.get('X-Goog-Expires');
  if (seconds !== null && /^\d{1,9}$/.test(seconds)) return Number(seconds) * 1000;
  const until = query.get('Expires');
  if (until !== null && /^\d{1,12}$/.test(until)) return Number(until) * 1000 - nowMs;
  const end = Date.parse(query.get('se') ?? '');
  return Number.isNaN(end) ? REDIRECT_LIFETIME_MS : end - nowMs;
}
