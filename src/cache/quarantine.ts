// Chunks that keep arriving wrong. They are left alone for a while, so that readers which insist do not make a hot loop of
// requests for bytes that are no good; then one is let through to try again.
import type { NaiadError } from '../base/errors.ts';
import { QUARANTINE_MAX_MS, QUARANTINE_MIN_MS } from '../base/limits.ts';

interface Held {
  readonly error: NaiadError;
  readonly untilMs: number;
  readonly pauseMs: number;
}

export class Quarantine {
  readonly #held = new Map<number, Held>();
  readonly #clock: () => number;

  /** `clock` counts milliseconds. */
  constructor(clock: () => number = () => performance.now()) {
    this.#clock = clock;
  }

  /** Why a chunk is not asked for at present. */
  reasonFor(index: number): NaiadError | undefined {
    const held = this.#held.get(index);
    return held && this.#clock() < held.untilMs ? held.error : undefined;
  }

  add(index: number, error: NaiadError): void {
    const before = this.#held.get(index)?.pauseMs;
    const pauseMs = before === undefined ? QUARANTINE_MIN_MS : Math.min(QUARANTINE_MAX_MS, before * 2);
    this.#held.set(index, { error, untilMs: this.#clock() + pauseMs, pauseMs });
  }

  /** The chunk has come right. */
  release(index: number): void {
    this.#held.delete(index);
  }

  get size(): number {
    return this.#held.size;
  }
}
