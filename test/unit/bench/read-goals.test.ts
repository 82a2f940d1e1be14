// Which figures of `naiad bench read` have a goal, and when they reach it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { goalsOf } from '../../../src/bench/read-goals.ts';

const microseconds = { median: 1, min: 1, max: 1, p25: 1, p75: 1 } as never;

test('goals of reading: each driver against its own baseline', () => {
  const figure = { state: 'warm', microseconds, toExt4: 1.06, toFloor: 1.3 } as const;
  const goals = goalsOf([
    { ...figure, target: 'erofs', operation: 'stat' },
    { ...figure, target: 'erofs', operation: 'sequential' },
    { ...figure, target: 'erofs', operation: 'random' },
    { ...figure, target: 'fuse', operation: 'stat' },
    { ...figure, target: 'fuse-native', operation: 'stat' },
    { target: 'fuse', operation: 'readdir', state: 'cold', microseconds },
  ]);
  assert.deepEqual(
    goals.map(({ target, operation, baseline, reached }) => [target, operation, baseline, reached]),
    [
      ['erofs', 'stat', 'ext4', true],
      ['erofs', 'sequential', 'ext4', false],
      ['fuse', 'stat', 'floor', false],
    ],
  );
});
