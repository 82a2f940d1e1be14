// What is told of a trace in half a sentence.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Touch } from '../../../src/format/trace/trace.ts';
import { briefOf, briefText } from '../../../src/trace/files.ts';

const touch = (path: string, size: number): Touch => ({ path, offset: 0, size, atMs: 1, waitMs: 0, runs: 1 });

test('trace in brief: its files and bytes, and that there was more', () => {
  const touches = [touch('/a', 1000), touch('/b', 500), touch('/a', 500)];
  assert.equal(briefText(briefOf({ runs: 1, touches })), '3 first touches of 2 files, 2.00 kB');
  assert.equal('cut' in briefOf({ runs: 1, touches }), false);
  const cut = briefOf({ runs: 1, touches, cut: true });
  assert.equal(briefText(cut), '3 first touches of 2 files, 2.00 kB; there were more than a trace holds');
  assert.equal(cut.cut, true);
});
