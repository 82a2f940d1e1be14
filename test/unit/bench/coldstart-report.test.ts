import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ColdstartOutcome, ColdstartRun } from '../../../src/bench/coldstart/coldstart-bench.ts';
import { parseLink } from '../../../src/bench/coldstart/link.ts';
import { coldstartPage } from '../../../src/bench/coldstart/page.ts';
import { reportOf, summaryOf } from '../../../src/bench/coldstart/report.ts';
import { resultsPage } from '../../../src/bench/coldstart/results-page.ts';

function run(way: string, round: number, readySeconds: number, more: Partial<ColdstartRun> = {}): ColdstartRun {
  return {
    ...{ way, round, readySeconds, firstReadySeconds: readySeconds, phases: { mount: 0.1, run: readySeconds - 0.1 } },
    ...{ bytesUntilReady: 1e6, bytesAfter: 0, requestsUntilReady: 3, requestsAfter: 0, connections: 1 },
    ...{ cpuSeconds: 0.2, peakBytes: 50e6, curve: [[0.1, 1e6]], requests: [] },
    ...more,
  };
}

const OUTCOME: ColdstartOutcome = {
  image: {
    ...{ reference: 'oci:x<y>&"z"', layers: 3, storedSize: 1e8, convertedSize: 1.1e8, unpackedSize: 4e8 },
    metadataSize: 125_000,
  },
  machine: { cpu: 'a', cores: 2, memory: '8 GiB', kernel: '6', node: 'v20', runtime: 'runc' },
  measuredLink: { bytesPerSecond: 12.4e6, bytesPerSecondOfTwo: 12.4e6, rttMs: 20.2 },
  registry: 'docker-registry',
  hotBytes: 25e6,
  naiad: '1.2.3',
  ways: [
    { key: 'full-pull', mode: 'full-pull', what: 'all' },
    { key: 'optimized', mode: 'optimized', what: 'some', driver: 'auto' },
    { key: 'local', mode: 'local', what: 'none' },
  ],
  refused: [{ key: 'podman', why: 'not on PATH' }],
  runs: [
    ...[9, 10, 14].map((seconds, round) => run('full-pull', round, seconds)),
    ...[2, 4, 3].map((seconds, round) =>
      run('optimized', round, seconds, {
        what: 'fuse',
        stalls: [
          { path: '/a', count: 1, seconds: 0.1 },
          { path: '/b</script>', count: 2, seconds: 0.3 },
        ],
      }),
    ),
    ...[1, 1, 1].map((seconds, round) => run('local', round, seconds)),
  ],
};

const REPORT = reportOf(OUTCOME, {
  ...{ created: '2026-01-02T03:04:05Z', command: ['bench'], link: parseLink('100mbit,20ms'), ready: 'exit' },
  ...{ containers: 1, rounds: 3, pageCache: 'dropped' },
});

test('coldstart report: medians, spreads and ratios are those of the runs', () => {
  const [full, optimized] = REPORT.ways;
  assert.deepEqual(full?.figures.ready, { p50: 10, p90: 14, min: 9, max: 14, mean: 11 });
  assert.equal(optimized?.figures.ready.p50, 3);
  assert.equal(optimized?.toFullPull, 0.3);
  assert.deepEqual(optimized?.phases.mount, summaryOf([0.1, 0.1, 0.1]));
  assert.equal(optimized?.chosen, 'fuse');
  assert.equal(REPORT.runs.length, 9);
});

test('coldstart report: the limit is the metadata and the longer of fetching what is touched and starting locally', () => {
  // Two round trips of 20 ms, 125 kB at 12.5 MB/s; 25 MB of touched chunks against one second.
  assert.deepEqual(REPORT.limit, {
    ...{ seconds: 0.05 + 2, metadataSeconds: 0.05, hotBytes: 25e6, hotSeconds: 2, localSeconds: 1 },
  });
  assert.equal(REPORT.ways[1]?.toLimit, 3 / 2.05);
  assert.equal(REPORT.ways[2]?.toLimit, undefined);
});

test('coldstart report: without what tells the bytes that are touched the limit is a lower one', () => {
  const { limit } = reportOf({ ...OUTCOME, hotBytes: undefined }, { ...REPORT, link: parseLink('100mbit,20ms') });
  assert.deepEqual([limit.seconds, limit.hotBytes], [1.05, undefined]);
});

test('coldstart report: targets are told whether they are kept or not', () => {
  assert.deepEqual(
    REPORT.targets.map(({ text, met }) => [text.replace(/^optimized /, ''), met]),
    [
      ['takes at most 1.15 × the limit', false],
      ['fetches at most 1.1 × the bytes that are touched, until ready', true],
      ['is at least 3 × faster than full-pull', true],
      ['is never slower than full-pull by more than 5 %', true],
    ],
  );
});

test('coldstart report: stalls are summed by file, the longest first', () => {
  const [first, second] = REPORT.ways[1]?.stalls ?? [];
  assert.equal(first?.path, '/b</script>');
  assert.equal(first?.count, 6);
  assert.equal(second?.path, '/a');
});

test('coldstart page: nothing of the report gets out of its place', () => {
  const page = coldstartPage([REPORT]);
  assert.equal(page.includes('x<y>'), false, 'names are escaped');
  // Four scripts: the data, two libraries, the plots.
  assert.equal(page.match(/<script/g)?.length, 4);
  assert.equal(page.match(/<\/script>/g)?.length, 4);
  assert.doesNotMatch(page.replace(/<script[\s\S]*?<\/script>/g, ''), /https?:\/\//, 'no address outside of scripts');
  assert.deepEqual(
    JSON.parse(/id="reports">(.*)<\/script>/.exec(page)?.[1] ?? ''),
    JSON.parse(JSON.stringify([REPORT])),
  );
});

test('coldstart results: the page in Markdown has every way, the losses and where the raw data is', () => {
  const page = resultsPage([{ file: 'x.json', report: REPORT }]);
  assert.match(page, /^# Cold starts: results\n/);
  assert.match(page, /\| full-pull \| 10\.00 s \| 9\.000 s \| 14\.00 s \| 1\.00 × \|/);
  assert.match(
    page,
    /## Targets missed\n\n- .*optimized takes at most 1\.15 × the limit: no, 1\.46 ×\n\n3 others were met\./,
  );
  assert.match(page, /\[x\.json\]\(x\.json\)/);
});
