// What a driver is meant to reach, and whether a run of `naiad bench read` says that it does.
import type { ReadFigure } from './read-figures.ts';

export interface ReadGoal {
  readonly target: string;
  readonly operation: ReadFigure['operation'];
  readonly state: ReadFigure['state'];
  /** What its time is compared with. */
  readonly baseline: 'ext4' | 'floor';
  /** Of medians: its time by the baseline's, and how large that may be. */
  readonly ratio: number;
  readonly ratioMax: number;
  readonly reached: boolean;
}

/** `erofs`, complete, by operation on metadata; and 0.95 of the speed of a sequential read. */
const EROFS_METADATA_MAX = 1.1;
const EROFS_SEQUENTIAL_MAX = 1 / 0.95;
const FUSE_MAX = 1.25;

/** Every figure that has a goal and something to be compared with. */
export function goalsOf(figures: readonly ReadFigure[]): ReadGoal[] {
  return figures.flatMap((figure) => {
    const { target, operation, state, toExt4, toFloor } = figure;
    const goal = (baseline: ReadGoal['baseline'], ratio: number | undefined, ratioMax: number): ReadGoal[] =>
      ratio === undefined ? [] : [{ target, operation, state, baseline, ratio, ratioMax, reached: ratio <= ratioMax }];
    if (target === 'fuse') return goal('floor', toFloor, FUSE_MAX);
    if (target !== 'erofs' || operation === 'random') return [];
    return goal('ext4', toExt4, operation === 'sequential' ? EROFS_SEQUENTIAL_MAX : EROFS_METADATA_MAX);
  });
}
