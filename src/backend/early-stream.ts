// A blob that is asked for before anybody knows what of it is wanted: what comes is held until somebody opens it, so that the
// line is not idle while a bootstrap is read. Asking is cheap, and what nobody opens is dropped.
import { deferred } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { EARLY_HELD_MAX } from '../base/limits.ts';
import { type BlobReader, type BlobStream, openStream } from './blob-reader.ts';

export class EarlyStream implements Disposable {
  readonly #over = new AbortController();
  readonly #opened: Promise<BlobStream>;
  /** Copies: what a stream gives, it uses again once it is asked for more. */
  readonly #held: Uint8Array[] = [];
  #heldSize = 0;
  /** Resolves when somebody opens it, or it is given up. */
  readonly #left = deferred<void>();
  #isLeft = false;
  /** What has not come yet. */
  #rest: AsyncIterator<Uint8Array> | undefined;
  #holding: Promise<void> = Promise.resolve();
  #answerMs = 0;

  /** Asks for the whole blob, of `size` bytes, at once. */
  constructor(reader: BlobReader, size: number) {
    const askedMs = performance.now();
    this.#opened = openStream(reader, { offset: 0, size }, this.#over.signal);
    this.#opened.then(
      ({ pieces }) => {
        this.#answerMs = performance.now() - askedMs;
        this.#rest = pieces[Symbol.asyncIterator]();
        this.#holding = this.#hold(this.#rest);
        this.#holding.catch(() => undefined); // Whoever opens it hears of it.
      },
      () => undefined, // Whoever opens it asks again.
    );
  }

  /** `reader`, of which the first stream from the blob's beginning is this one. */
  of(reader: BlobReader): BlobReader {
    return {
      name: `early(${reader.name})`,
      readAt: (range, signal) => reader.readAt(range, signal),
      open: async (range, signal, hint = {}) => {
        const stream = range.offset === 0 && !hint.fromOrigin ? await this.#take(signal) : undefined;
        return stream ?? (await openStream(reader, range, signal, hint));
      },
    };
  }

  /** Gives it up, unless somebody has opened it. */
  [Symbol.dispose](): void {
    if (this.#isLeft) return;
    this.#leave();
    this.#end();
  }

  async #take(signal: AbortSignal): Promise<BlobStream | undefined> {
    if (this.#isLeft) return undefined;
    this.#leave();
    // The memory of a piece stays its reader's until that asks for the next one, or leaves.
    const onAbort = () => this.#abort();
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    const stream = await this.#opened.catch(() => undefined);
    if (!stream) return undefined;
    const pieces = this.#pieces(() => signal.removeEventListener('abort', onAbort));
    return { ...stream, pieces, early: { answerMs: this.#answerMs, bytes: this.#heldSize } };
  }

  async *#pieces(onLeft: () => void): AsyncGenerator<Uint8Array> {
    try {
      yield* this.#held.splice(0);
      await this.#holding; // It was asking for one more.
      yield* this.#held.splice(0);
      while (!this.#over.signal.aborted) {
        const next = await this.#rest?.next();
        if (!next || next.done) break;
        yield next.value;
      }
      this.#over.signal.throwIfAborted(); // Then that was not its end.
    } finally {
      onLeft();
      this.#end(); // Whoever leaves before its end wants no more.
    }
  }

  /** Until somebody opens it; then what comes is theirs. */
  async #hold(rest: AsyncIterator<Uint8Array>): Promise<void> {
    while (!this.#isLeft) {
      if (this.#heldSize > EARLY_HELD_MAX) {
        await this.#left.promise;
        return;
      }
      const next = await rest.next();
      if (next.done) return;
      this.#held.push(new Uint8Array(next.value));
      this.#heldSize += next.value.length;
    }
  }

  #leave(): void {
    this.#isLeft = true;
    this.#left.resolve();
  }

  #abort(): void {
    this.#over.abort(new NaiadError('CANCELED', 'nobody wants the rest'));
  }

  #end(): void {
    this.#abort();
    this.#held.length = 0;
    void this.#rest?.return?.().catch(() => undefined);
  }
}
