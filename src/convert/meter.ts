// Where the time of a conversion goes. Steps overlap, on several threads, so that the sum of all steps is about the CPU
// time and not the time on the clock.

export const STEPS = {
  decompress: 'gunzip or zstd, on a thread of the pool that Node has',
  tar: 'walking the archive and building the tree',
  digest: 'digests of chunks and their lookup',
  hash: 'sha256 of the uncompressed layer and of the stored blob',
  compress: 'compressing chunks, on worker threads',
  write: 'writing blobs, from asking to done',
  wait: 'the reader waiting for a free slot of memory',
} as const;
export type Step = keyof typeof STEPS;

/** Milliseconds by step. */
export class Meter {
  readonly ms: Record<Step, number> = { decompress: 0, tar: 0, digest: 0, hash: 0, compress: 0, write: 0, wait: 0 };

  /** Adds the time since `start`, a value of performance.now(). */
  since(step: Step, start: number): void {
    this.ms[step] += performance.now() - start;
  }
}
