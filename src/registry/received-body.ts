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

type Next = IteratorResult<Uint8Array, undefined>;

interface Reader {
  readonly resolve: (next: Next) => void;
  readonly reject: (error: Error) => void;
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
  #reader: Reader | undefined;

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
    this.#serve();
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
    this.#serve();
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

  next(): Promise<Next> {
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
      this.#serve();
    });
  }

  /** Whoever waits gets what there is. What has come is given out before an error is told. */
  #serve(): void {
    const reader = this.#reader;
    if (!reader) return;
    const piece = this.#pieces.shift();
    const isOver = this.#over || this.#dropsLeft !== undefined;
    if (piece === undefined && !isOver) return;
    this.#reader = undefined;
    if (piece !== undefined) {
      reader.resolve({ done: false, value: piece });
      this.#waiting -= piece.length;
      // Which may bring the next piece at once.
      if (this.#waiting < WAITING_SIZE_MAX / 2) this.#goOn();
    } else if (this.#error) reader.reject(this.#error);
    else reader.resolve({ done: true, value: undefined });
  }

  async return(): Promise<Next> {
    this.destroy();
    return { done: true, value: undefined };
  }
}
