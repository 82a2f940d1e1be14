import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ColdstartOutcome, ColdstartRun } from '../../../src/bench/coldstart/coldstart-bench.ts';
import { condensed } from '../../../src/bench/coldstart/condense.ts';
import { parseLink } from '../../../src/bench/coldstart/link.ts';
import { coldstartPage } from '../../../src/bench/coldstart/page.ts';
import { reportOf, summaryOf } from '../../../src/bench/coldstart/report.ts';
import type { ReportContext } from '../../../src/bench/coldstart/report-model.ts';
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

const CONTEXT: ReportContext = {
  ...{
    created: '2026-01-02T03:04:05Z',
    command: ['bench', '--ready', "log:it's up", 'a&b'],
    link: parseLink('100mbit,20ms'),
    ready: 'exit',
  },
  ...{ containers: 1, rounds: 3, pageCache: 'dropped' },
};
const REPORT = reportOf(OUTCOME, CONTEXT);

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

test('coldstart report: targets are told whether they are kept or not, and by what they were missed', () => {
  assert.deepEqual(
    REPORT.targets.map(({ kind, way, met, got, why }) => [kind, way, met, got, why]),
    [
      [
        ...['limit', 'optimized', false, '1.46 ×'],
        // 3 s are 0.95 s more than the limit; mounting took 0.1 s as locally, and nothing was spent on metadata.
        '0.950 s over the limit: +1.000 s the application itself, −0.050 s until the metadata is here; naiad used 0.200 s of CPU, reads waited 0.400 s in all, most for /b</script>, /a',
      ],
      ['faster', 'optimized', true, '0.30 ×', undefined],
      ['never-slower', 'optimized', true, '0.30 ×', undefined],
      ['bytes', 'optimized', true, '0.04 ×', undefined],
    ],
  );
});

test('coldstart report: a figure next to its bound reads as its verdict does, and what only warms up has no limit', () => {
  const runs = [run('full-pull', 0, 10), run('optimized', 0, 10.52), run('warm', 0, 0.5)];
  const ways = [...OUTCOME.ways, { key: 'warm', mode: 'warm', what: 'all cached' } as const];
  const report = reportOf({ ...OUTCOME, ways, runs }, CONTEXT);
  const got = report.targets.find(({ kind }) => kind === 'never-slower');
  assert.deepEqual([got?.met, got?.got], [false, '1.052 ×']);
  assert.equal(report.ways.at(-1)?.toLimit, undefined);
});

test('coldstart report: a start slower than a full pull is told by its parts, and so are bytes nobody touched', () => {
  const phases = { mount: 2, create: 0.5, run: 10 };
  const slow = run('optimized', 0, 12.5, { phases, bytesUntilReady: 30e6 });
  const full = run('full-pull', 0, 10, { phases: { pull: 6, mount: 1, create: 0.5, run: 2.5 } });
  const { targets } = reportOf({ ...OUTCOME, runs: [slow, full] }, CONTEXT);
  const why = (kind: string) => targets.find((target) => target.kind === kind)?.why ?? '';
  assert.equal(
    why('never-slower'),
    '2.500 s slower: +7.500 s the application itself, −5.000 s until the root is mounted; naiad used 0.200 s of CPU',
  );
  assert.match(why('bytes'), /^30\.0 MB for 25\.0 MB of chunks: 125\.0 kB are .*, 4\.88 MB other chunks and headers/);
  assert.match(why('faster'), /^10\.4\d* s over the limit/, 'the limit would have allowed it');
});

test('coldstart report: three times faster is asked of large images on slow links alone', () => {
  const kinds = (outcome: ColdstartOutcome, link: string) =>
    reportOf(outcome, { ...CONTEXT, link: parseLink(link) }).targets.map(({ kind }) => kind);
  const small = { ...OUTCOME, image: { ...OUTCOME.image, unpackedSize: 2e8 } };
  assert.equal(kinds(OUTCOME, '100mbit,20ms').includes('faster'), true);
  assert.equal(kinds(OUTCOME, '1gbit,1ms').includes('faster'), false);
  assert.equal(kinds(small, '100mbit,20ms').includes('faster'), false);
});

test('coldstart condensed: the same figures to the millisecond, and one curve a way; again it changes nothing', () => {
  const small = condensed(REPORT);
  assert.deepEqual(
    small.ways.map(({ figures }) => figures.ready),
    REPORT.ways.map(({ figures }) => figures.ready),
  );
  assert.deepEqual(
    small.runs.map(({ way, round, curve }) => [way, round, curve.length]),
    REPORT.runs.map(({ way, round, readySeconds }) => [
      way,
      round,
      [10, 3, 1].includes(readySeconds) && (way !== 'local' || round === 0) ? 1 : 0,
    ]),
  );
  assert.equal(small.limit.seconds, 2.05);
  assert.deepEqual(condensed(small), small);
});

test('coldstart condensed: a curve of many points keeps its last', () => {
  const curve = Array.from({ length: 500 }, (_, index): [number, number] => [index / 100, index]);
  const [kept] = condensed(reportOf({ ...OUTCOME, runs: [run('optimized', 0, 6, { curve })] }, CONTEXT)).runs;
  assert.ok(kept && kept.curve.length <= 31);
  assert.deepEqual(kept.curve.at(-1), [4.99, 499]);
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

test('coldstart results: the page in Markdown has every way, each target with its verdict, and where the data is', () => {
  const page = resultsPage([REPORT], { data: 'x.json', html: 'x.html' });
  assert.match(page, /^# Cold starts: results\n/);
  assert.match(page, /\| full-pull \| 10\.00 s \| 9\.000 s \| 14\.00 s \| 1\.00 × \|/);
  assert.match(page, /\*\*no, 1\.46 ×\*\* \| yes, 0\.30 × \| yes, 0\.30 × \| yes, 0\.04 × \|/);
  assert.match(
    page,
    /- Over 100mbit,20ms, optimized against a full pull: 3\.3 × \(x<y>&"z"\) as fast\.\n- 3 of 4 targets/,
  );
  assert.match(
    page,
    /missed, and by what\n\n- .*optimized takes at most 1\.15 × the limit: no, 1\.46 ×; 0\.950 s over/,
  );
  assert.ok(page.includes("Command: `naiad bench --ready 'log:it'\\''s up' 'a&b'`."), 'as a shell takes it');
  assert.match(page, /\[The same with plots\]\(x\.html\).*\n\[Every run as JSON\]\(x\.json\)/);
});

test('coldstart results: many containers at once are held against one alone', () => {
  const slower = (factor: number) => OUTCOME.runs.map((one) => ({ ...one, readySeconds: one.readySeconds * factor }));
  const many = (factor: number) => reportOf({ ...OUTCOME, runs: slower(factor) }, { ...CONTEXT, containers: 20 });
  const told = (factor: number) => resultsPage([REPORT, many(factor)], {});
  assert.match(
    told(1.1),
    /100mbit,20ms, 20 at once: optimized takes 1\.10 × of one alone, from the local disk 1\.10 ×; .*: reached\./,
  );
  assert.match(told(3), /20 at once: optimized takes 3\.00 × of one alone, .*: missed\./);
  assert.match(told(3), /\n## x<y>&"z", 100mbit,20ms, 20 at once\n/);
  assert.doesNotMatch(resultsPage([many(3)], {}), /of one alone/, 'there is none to compare with');
});
