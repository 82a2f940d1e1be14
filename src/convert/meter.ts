// Where the time of a conversion goes, as far as this code can see it itself.

/** Milliseconds by step. `compress` is CPU time of all threads that do it; the others are on the clock of the main thread. */
export interface Times {
  /** Digests of chunks and their lookup. */
  digest: number;
  compress: number;
  /** Writes of blobs, from asking to done: other work goes on meanwhile. */
  write: number;
  /** The reader had to wait for a free slot of memory. */
  wait: number;
}

export class Meter {
  readonly ms: Times = { digest: 0, compress: 0, write: 0, wait: 0 };

  /** Adds the time since `start`, a value of performance.now(). */
  since(step: keyof Times, start: number): void {
    this.ms[step] += performance.now() - start;
  }
}
