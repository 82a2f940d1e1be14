import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkFailIf, parseFailIf, waysNamed } from '../../../src/bench/coldstart/fail-if.ts';
import type { Summary, WayReport } from '../../../src/bench/coldstart/report-model.ts';

function summary(p50: number): Summary {
  return { p50, p90: p50 * 2, min: p50 / 2, max: p50 * 3, mean: p50 * 1.5 };
}

function way(key: string, ready: number, bytes = 20e6): WayReport {
  const none = summary(0);
  return {
    ...{ key, mode: key.split('/')[0] as WayReport['mode'], what: '', runs: 3, stalls: [] },
    figures: {
      ...{ ready: summary(ready), first: summary(ready), bytes: summary(bytes), 'bytes-after': none },
      ...{ requests: summary(7), 'requests-after': none, cpu: summary(0.5), memory: summary(100e6) },
    },
    phases: { mount: summary(0.2) },
  };
}

const WAYS = [way('full-pull', 10), way('lazy/fuse', 2), way('lazy/erofs', 4)];

for (const [text, failed] of [
  ['full-pull.ready.p50 > 9s', true],
  ['full-pull.ready.p50 > 10s', false],
  ['full-pull.ready.p50 >= 10s', true],
  ['full-pull.ready > 9999ms', true],
  ['full-pull.ready.min < 5s', false],
  ['full-pull.ready.min <= 5s', true],
  ['10s > full-pull.ready.p50', false],
  ['full-pull.ready.p90 > 19.9s', true],
  ['full-pull.ready.max>30s', false],
  ['full-pull.ready.mean > 14s', true],
  // A mode stands for all of its drivers.
  ['lazy.ready.p50 > 3s', true],
  ['lazy.ready.p50 > 5s', false],
  ['lazy/fuse.ready.p50 > 3s', false],
  ['lazy/erofs.ready.p50 > 3s', true],
  ['lazy.ready.p50 > 1.05 * full-pull.ready.p50', false],
  ['lazy.ready.p50 > 0.3*full-pull.ready.p50', true],
  ['lazy.bytes > 19.9MB', true],
  ['lazy.bytes > 20MiB', false],
  ['lazy.requests > 6', true],
  ['lazy.requests >= 8', false],
  ['lazy.cpu > 600ms', false],
  ['lazy.memory.max > 299MB', true],
  ['lazy.mount.p50 > 0.1s', true],
  // What was not measured cannot be fine.
  ['optimized.ready.p50 > 2s', true],
  ['lazy.bootstrap.p50 > 2s', true],
] as const) {
  test(`fail-if: ${text} ${failed ? 'holds' : 'does not hold'}`, () => {
    const result = checkFailIf(parseFailIf(text), { ways: WAYS });
    assert.equal(result.failed, failed, result.why);
    assert.equal(result.text, text);
  });
}

test('fail-if: the numbers are told', () => {
  const { why } = checkFailIf(parseFailIf('lazy.ready.p50 > 3s'), { ways: WAYS });
  assert.equal(why, 'lazy/erofs.ready.p50 = 4.000s > 3.000s');
});

test('fail-if: the ways that a condition is about are known before anything is measured', () => {
  const condition = parseFailIf('lazy/fuse.ready.p50 > 1.05 * full-pull.ready.p50');
  assert.deepEqual(waysNamed(condition), ['lazy/fuse', 'full-pull']);
});

for (const [text, why] of [
  ['', /no comparison/],
  ['lazy.ready.p50', /no comparison/],
  ['lazy.ready.p50 = 2s', /no comparison/],
  ['1s < lazy.ready.p50 < 2s', /or several/],
  ['lazy.ready.p50 > ', /is not MODE/],
  ['2s > 1s', /names nothing/],
  ['lazy.ready.p99 > 2s', /no statistic "p99"/],
  ['lazy.speed.p50 > 2s', /no figure "speed"/],
  ['lazy > 2s', /no figure ""/],
  ['lazy.ready.p50.x > 2s', /is not MODE/],
  ['Lazy.ready.p50 > 2s', /is not MODE/],
  ['lazy.ready.p50 > 2', /without a unit/],
  ['lazy.ready.p50 > 2MB', /compares seconds with bytes/],
  ['lazy.bytes > 2s', /compares bytes with seconds/],
  ['lazy.ready.p50 > lazy.bytes.p50', /compares seconds with bytes/],
  ['lazy.requests > 2s', /compares count with seconds/],
  ['lazy.ready.p50 > 2 hours', /no time, size or number/],
  ['lazy.ready.p50 > 1e3s', /no time, size or number/],
  ['lazy.ready.p50 > 2 * 3s', /no figure/],
] as const) {
  test(`fail-if: ${JSON.stringify(text)} is refused`, () => {
    assert.throws(
      () => parseFailIf(text),
      (error: Error & { code?: string; hint?: string }) =>
        error.code === 'USAGE' && why.test(error.message) && error.hint !== undefined,
    );
  });
}
