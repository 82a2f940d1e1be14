// What the way to the registry can do, measured on what goes over it: bandwidth and delay, and from them how much should be
// in flight and how large a request may be.
import {
  FETCH_IN_FLIGHT_BYTES_MAX,
  FETCH_IN_FLIGHT_BYTES_MIN,
  FETCH_REQUEST_SECONDS_MAX,
  FETCH_SIZE_MAX,
} from '../base/limits.ts';
import { MiB } from '../base/units.ts';

const SAMPLE_MS = 200;
/** A new maximum counts at once; it is forgotten slowly, for a line that is idle is not a slow one. */
const FORGET_SHARE = 0.1;

export class LinkEstimate {
  readonly #clock: () => number;
  #bytesPerSec: number | undefined;
  #delayMs: number | undefined;
  #sampleBytes = 0;
  #sampleFromMs: number | undefined;

  /** `clock` counts milliseconds. */
  constructor(clock: () => number = () => performance.now()) {
    this.#clock = clock;
  }

  /** Undefined until enough was seen. */
  get bytesPerSec(): number | undefined {
    return this.#bytesPerSec;
  }

  /** From a request to its first byte. */
  get delayMs(): number | undefined {
    return this.#delayMs;
  }

  answered(delayMs: number): void {
    const known = this.#delayMs;
    this.#delayMs = known === undefined || delayMs < known ? delayMs : known + (delayMs - known) * FORGET_SHARE;
  }

  arrived(bytes: number): void {
    const now = this.#clock();
    this.#sampleFromMs ??= now;
    this.#sampleBytes += bytes;
    const spanMs = now - this.#sampleFromMs;
    if (spanMs < SAMPLE_MS) return;
    const rate = (this.#sampleBytes / spanMs) * 1000;
    const known = this.#bytesPerSec;
    this.#bytesPerSec = known === undefined || rate > known ? rate : known + (rate - known) * FORGET_SHARE;
    this.#sampleFromMs = now;
    this.#sampleBytes = 0;
  }

  /** Nothing is in flight any more: the time until something is says nothing of the line. */
  idle(): void {
    this.#sampleFromMs = undefined;
    this.#sampleBytes = 0;
  }

  /** Bytes that should be in flight: twice what the line holds. */
  get inFlightBytes(): number {
    const held = ((this.#bytesPerSec ?? 0) * (this.#delayMs ?? 0)) / 1000;
    return Math.min(FETCH_IN_FLIGHT_BYTES_MAX, Math.max(FETCH_IN_FLIGHT_BYTES_MIN, 2 * held));
  }

  /** Bytes of one request. */
  get requestBytes(): number {
    if (this.#bytesPerSec === undefined) return FETCH_SIZE_MAX;
    return Math.min(FETCH_SIZE_MAX, Math.max(1 * MiB, this.#bytesPerSec * FETCH_REQUEST_SECONDS_MAX));
  }
}
