import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatTrace, type Touch, type Trace } from '../../../src/format/trace/trace.ts';
import { diffTraces } from '../../../src/trace/diff.ts';
import { mergeTraces } from '../../../src/trace/merge.ts';
import { timelinePage, timelineText } from '../../../src/trace/timeline.ts';

/** A letter is the content of a chunk; its path is that of a file with only this chunk unless one is given. */
function touchOf(letter: string, atMs: number, more: Partial<Touch> = {}): Touch {
  const chunk = `blake3:${letter.charCodeAt(0).toString(16).repeat(32)}`;
  return { path: `/${letter}`, offset: 0, size: 100, chunk, atMs, waitMs: 0, runs: 1, ...more };
}

function traceOf(letters: string, more: Partial<Trace> = {}): Trace {
  return { runs: 1, ...more, touches: [...letters].map((letter, index) => touchOf(letter, index * 10)) };
}

const order = ({ touches }: Trace) => touches.map(({ path, runs }) => `${path.slice(1)}${runs}`).join(' ');

for (const { name, traces, want, runsMin } of [
  { name: 'one alone', traces: ['abc'], want: 'a1 b1 c1' },
  { name: 'the same twice', traces: ['abc', 'abc'], want: 'a2 b2 c2' },
  { name: 'what most touch first, in their order', traces: ['xabc', 'abc', 'abcy'], want: 'a3 b3 c3 x1 y1' },
  { name: 'half is common', traces: ['ab', 'cb'], want: 'a1 c1 b2' },
  {
    name: 'the more frequent first among the rest',
    traces: ['abx', 'aby', 'aby', 'ab', 'ab', 'ab'],
    want: 'a6 b6 y2 x1',
  },
  { name: 'without the rare', traces: ['abx', 'ab'], want: 'a2 b2', runsMin: 2 },
]) {
  test(`merge: ${name}, however they are ordered`, () => {
    const all = traces.map((letters) => traceOf(letters));
    const merged = mergeTraces(all, { runsMin });
    assert.equal(order(merged), want);
    assert.deepEqual(formatTrace(mergeTraces(all.reverse(), { runsMin })), formatTrace(merged));
    assert.equal(merged.runs, traces.length);
  });
}

test('merge: times are means, readiness the median, and what is not shared is left out', () => {
  const image = `sha256:${'0'.repeat(64)}`;
  const one = {
    ...traceOf('ab', { image, reference: 'x:1', readyMs: 100 }),
    touches: [touchOf('a', 10, { waitMs: 6 })],
  };
  const two = { ...traceOf('ab', { image, reference: 'x:2', readyMs: 900 }), touches: [touchOf('a', 30)] };
  const three = traceOf('a', { image, readyMs: 200 });
  const merged = mergeTraces([one, two, { ...three, runs: 2, touches: [{ ...touchOf('a', 50), runs: 2 }] }]);
  assert.deepEqual([merged.image, merged.reference, merged.readyMs, merged.runs], [image, undefined, 200, 4]);
  assert.deepEqual(merged.touches, [touchOf('a', 35, { waitMs: 1.5, runs: 4 })]);
});

test('merge: merging what was merged counts every run', () => {
  const [a, b, c] = ['abx', 'ab', 'ab'].map((letters) => traceOf(letters)) as [Trace, Trace, Trace];
  assert.equal(order(mergeTraces([mergeTraces([a, b]), c])), 'a3 b3 x1');
});

test('diff: by content, by place, and what only one has', () => {
  const first = traceOf('abc');
  const second = {
    ...traceOf('ad'),
    touches: [touchOf('a', 0, { path: '/moved', waitMs: 5 }), touchOf('z', 1, { path: '/b' }), touchOf('d', 2)],
  };
  const diff = diffTraces(first, second);
  assert.deepEqual([diff.same, diff.changed, diff.onlyFirst, diff.onlySecond], [1, 1, 1, 1]);
  assert.deepEqual(
    diff.files.map(({ kind, path }) => `${kind} ${path}`),
    ['changed /b', 'first /c', 'second /d'],
  );
  assert.deepEqual([diff.second.stalls, diff.second.waitMs, diff.first.stalls], [1, 5, 0]);
});

test('timeline: a line a file, on the scale of the trace', () => {
  const trace: Trace = { runs: 1, readyMs: 100, touches: [touchOf('a', 0, { waitMs: 50 }), touchOf('b', 75)] };
  assert.deepEqual(timelineText(trace, { columns: 40, rowsMax: 1 }), [
    '0             100 ms',
    '███████████·········  /a',
    '… and 1 more files',
  ]);
  assert.equal(timelineText(trace, { columns: 40, rowsMax: 9 })[2], '···············▪····  /b');
});

test('timeline: the page names nothing outside, and whatever a path holds stays text', () => {
  const path = `/<script>alert("1")</script>&'\x07\xff`;
  const page = timelinePage({ runs: 1, readyMs: 5, reference: '<b>', touches: [touchOf('a', 1, { path })] });
  assert.doesNotMatch(page, /<script|<b>|https?:|src=|url\(/);
  assert.match(page, /&#60;script&#62;/);
  assert.match(page, /class="ready"/);
  assert.match(timelinePage({ runs: 1, touches: [] }), /<svg/);
});
