// A blob that is asked for before anybody knows what of it is wanted: what comes is held until somebody opens it, so that the
// line is not idle while a bootstrap is read. Asking is cheap, and what nobody opens is dropped.
import { deferred } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { EARLY_HELD_MAX } from '../base/limits.ts';
import { type BlobReader, type BlobStream, openStream } from './blob-reader.ts';

/** What of it nobody has taken yet waits here. */
class HeldPieces {
  readonly #pieces: Uint8Array[] = [];
  #size = 0;
  #over = false;
  #failure: unknown;
  #changed = deferred<void>();

  get size(): number {
    return this.#size;
  }

  /** Resolves when there is room for more. */
  async add(piece: Uint8Array): Promise<void> {
    this.#pieces.push(piece);
    this.#size += piece.length;
    this.#tell();
    while (this.#size > EARLY_HELD_MAX && !this.#over) await this.#changed.promise;
  }

  /** Nothing more is added; after `failure`, because of that. What is held is dropped then. */
  end(failure?: unknown): void {
    this.#over = true;
    this.#failure ??= failure;
    this.#tell();
  }

  async *taken(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece) {
        this.#size -= piece.length;
        this.#tell();
        yield piece;
      } else if (this.#failure !== undefined) throw this.#failure;
      else if (this.#over) return;
      else await this.#changed.promise;
    }
  }

  #tell(): void {
    this.#changed.resolve();
    this.#changed = deferred<void>();
  }
}

export class EarlyStream implements Disposable {
  readonly #over = new AbortController();
  readonly #held = new HeldPieces();
  readonly #opened: Promise<BlobStream>;
  #answerMs = 0;
  #left = false;

  /** Asks for the whole blob, of `size` bytes, at once. */
  constructor(reader: BlobReader, size: number) {
    const askedMs = performance.now();
    this.#opened = openStream(reader, { offset: 0, size }, this.#over.signal);
    this.#opened.then(
      (stream) => {
        this.#answerMs = performance.now() - askedMs;
        void this.#hold(stream);
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
    if (!this.#left) this.#end();
    this.#left = true;
  }

  async #take(signal: AbortSignal): Promise<BlobStream | undefined> {
    if (this.#left) return undefined;
    this.#left = true;
    const onAbort = () => this.#end();
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    const stream = await this.#opened.catch(() => undefined);
    if (!stream) return undefined;
    const pieces = this.#pieces(() => signal.removeEventListener('abort', onAbort));
    return { ...stream, pieces, early: { answerMs: this.#answerMs, bytes: this.#held.size } };
  }

  async *#pieces(onLeft: () => void): AsyncGenerator<Uint8Array> {
    try {
      yield* this.#held.taken();
    } finally {
      onLeft();
      this.#end(); // Whoever leaves before its end wants no more.
    }
  }

  async #hold({ pieces }: BlobStream): Promise<void> {
    try {
      for await (const piece of pieces) {
        await this.#held.add(piece);
        if (this.#over.signal.aborted) break;
      }
      this.#held.end();
    } catch (error) {
      this.#held.end(error);
    }
  }

  #end(): void {
    const reason = new NaiadError('CANCELED', 'nobody wants the rest');
    this.#over.abort(reason);
    this.#held.end(reason);
  }
}
