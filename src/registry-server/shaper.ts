// A slow link for demonstrations and benchmarks: all answers of a server together leave at so many bytes a second.
import { setTimeout as sleep } from 'node:timers/promises';
import { KiB } from '../base/units.ts';

/** Two requests that follow each other within this time count as one busy stretch of the link. */
const GAP_MS = 2;
/** Smaller pieces are smoother, larger ones cheaper: so much time on the link each. */
const PIECE_MS = 4;
const PIECE_SIZE_MIN = 1 * KiB;
const PIECE_SIZE_MAX = 64 * KiB;

/**
 * A link that sends one piece after another. Its clock is the ideal one: a timer that fires late makes the next pieces
 * leave earlier, so that the rate is exact over any busy stretch. Idle time is lost, as on a wire: there is no burst
 * after a pause.
 */
export class SharedLink {
  readonly bytesPerSecond: number;
  /** The largest piece to transmit at once, in bytes. */
  readonly pieceSize: number;
  /** When the link has sent all it was given, on the clock of performance.now(). */
  #freeAt = Number.NEGATIVE_INFINITY;
  #lateMs = 0;

  constructor(bytesPerSecond: number) {
    this.bytesPerSecond = bytesPerSecond;
    const ideal = Math.floor((bytesPerSecond * PIECE_MS) / 1000);
    this.pieceSize = Math.min(Math.max(ideal, PIECE_SIZE_MIN), PIECE_SIZE_MAX);
  }

  /** Resolves when `size` bytes have passed, behind everything that was given to the link before. */
  async transmit(size: number, signal?: AbortSignal): Promise<void> {
    const now = performance.now();
    const isBusy = now - this.#freeAt <= GAP_MS + this.#lateMs;
    const endsAt = (isBusy ? this.#freeAt : now) + (size / this.bytesPerSecond) * 1000;
    this.#freeAt = endsAt;
    const waitMs = endsAt - now;
    if (waitMs >= 1) await sleep(waitMs, undefined, signal ? { signal } : {});
    this.#lateMs = Math.max(0, performance.now() - endsAt);
  }
}

/** Passes `source` on at the rate of the link, in pieces of its size. */
export async function* shaped(
  source: AsyncIterable<Uint8Array>,
  link: SharedLink,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array, void, void> {
  for await (const bytes of source) {
    for (let offset = 0; offset < bytes.length; offset += link.pieceSize) {
      const piece = bytes.subarray(offset, offset + link.pieceSize);
      await link.transmit(piece.length, signal);
      yield piece;
    }
  }
}
