// What a benchmark of reads measures.
import type { ReadOperation } from './read-operations.ts';
import type { Spread } from './statistics.ts';

/** `cold`: the kernel has forgotten the files, who serves them has the bytes in memory. `warm`: the kernel remembers. */
export const READ_STATES = ['cold', 'warm'] as const;
export type ReadState = (typeof READ_STATES)[number];

export interface ReadFigure {
  readonly target: string;
  readonly operation: ReadOperation;
  readonly state: ReadState;
  /** Microseconds an operation; of `readdir` a name, of `sequential` a MiB. */
  readonly microseconds: Spread;
  /** `sequential` only. */
  readonly megabytesPerSecond?: Spread;
  /** Of medians: how many times as long as the other takes. */
  readonly toExt4?: number;
  readonly toFloor?: number;
}
