// The body of an answer, piece by piece to one reader, without a stream of Node between: lazy reads are many and small, and
// what a stream does for each of them costs more than the rest of a request.
import type { ResponseBody } from './exchange.ts';

/** What stands between a body and its connection. */
export interface BodyControl {
  pause(): void;
  resume(): void;
  /** Ends the connection. */
  abort(reason: Error): void;
}

/** What may wait for its reader: enough to keep a fast line busy, little beside what a reader holds itself. */
const WAITING_SIZE_MAX = 512 * 1024;

export class ReceivedBody implements ResponseBody, AsyncIterator<Uint8Array> {
  readonly #control: BodyControl;
  readonly #listeners: (() => void)[] = [];
  #received = 0;
  #pieces: Uint8Array[] = [];
  #waiting = 0;
  #paused = false;
  /** Nothing more is kept, for how many bytes more. */
  #dropsLeft: number | undefined;
  #over = false;
  #error: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(control: BodyControl) {
    this.#control = control;
  }

  get isOver(): boolean {
    return this.#over;
  }

  get isBroken(): boolean {
    return this.#error !== undefined;
  }

  get received(): number {
    return this.#received;
  }

  onOver(listener: () => void): void {
    if (this.#over) listener();
    else this.#listeners.push(listener);
  }

  /** A piece has come. */
  push(piece: Uint8Array): void {
    this.#received += piece.length;
    if (this.#dropsLeft !== undefined) {
      this.#dropsLeft -= piece.length;
      if (this.#dropsLeft < 0) this.destroy();
      return;
    }
    if (this.#over) return;
    this.#pieces.push(piece);
    this.#waiting += piece.length;
    if (this.#waiting >= WAITING_SIZE_MAX && !this.#paused) {
      this.#paused = true;
      this.#control.pause();
    }
    this.#wake?.();
  }

  /** The last piece has come, or with an error no more can come. */
  end(error?: Error): void {
    if (this.#over) return;
    this.#error = error;
    this.#finish();
  }

  #finish(): void {
    this.#over = true;
    for (const listener of this.#listeners) listener();
    this.#wake?.();
  }

  destroy(): void {
    this.#pieces = [];
    this.#waiting = 0;
    if (this.#over) return;
    this.#finish();
    this.#control.abort(new Error('given up'));
  }

  drop(sizeMax: number): void {
    if (this.#over) return;
    this.#dropsLeft = sizeMax;
    this.#pieces = [];
    this.#waiting = 0;
    this.#goOn();
  }

  #goOn(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#control.resume();
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return this;
  }

  /** What has come is given out before an error is told. */
  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece !== undefined) {
        this.#waiting -= piece.length;
        if (this.#waiting < WAITING_SIZE_MAX / 2) this.#goOn();
        return { done: false, value: piece };
      }
      if (this.#error) throw this.#error;
      if (this.#over || this.#dropsLeft !== undefined) return { done: true, value: undefined };
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }

  async return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.destroy();
    return { done: true, value: undefined };
  }
}
