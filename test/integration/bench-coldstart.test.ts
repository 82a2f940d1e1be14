// The benchmark of starts from end to end, small: a registry, a link, containers, and the page it writes.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import type { ColdstartReport } from '../../src/bench/coldstart/report-model.ts';
import { chromium, withPage } from '../support/browser.ts';
import { fixture, fixturePath } from '../support/fixtures.ts';
import { NAIAD } from '../support/naiad.ts';
import { addon, every, fuse, program, root } from '../support/requires.ts';
import { runTool, type ToolResult } from '../support/run-tool.ts';
import { temporaryDir } from '../support/temporary.ts';

const needs = every(root(), addon(), fuse(), program('runc'), program('ip'), fixture('app-tiny'));
const directory = temporaryDir('coldstart');
const [page, output] = [join(directory.path, 'page.html'), join(directory.path, 'report.json')];
after(() => directory[Symbol.dispose]());

let result: ToolResult;
let report: ColdstartReport;

before(
  async () => {
    if (needs.skip !== false) return;
    // The kernel's memory of files is left alone: other tests run on this machine.
    const how = [
      '--runs=2',
      '--page-cache=keep',
      '--watch=0.1',
      '--net=200mbit,5ms',
      '--modes=full-pull,lazy,warm,local',
    ];
    const written = [`--html=${page}`, `--output=${output}`];
    const conditions = ['--fail-if=full-pull.bytes > 100kB', '--fail-if=local.ready > 100s'];
    const line = ['--json', 'bench', 'coldstart', '--ready=http://127.0.0.1:8080/', ...how, ...written, ...conditions];
    result = await runTool(process.execPath, [NAIAD, ...line, `oci:${fixturePath('app-tiny')}`], { okay: [3] });
    report = JSON.parse(readFileSync(output, 'utf8')) as ColdstartReport;
  },
  { timeout: 300_000 },
);

test('bench coldstart: every way gets the application ready, and is told with its parts', needs, () => {
  assert.deepEqual(
    report.ways.map(({ key, runs }) => [key, runs]),
    ['full-pull', 'lazy', 'warm', 'local'].map((key) => [key, 2]),
  );
  const way = (key: string) => report.ways.find((one) => one.key === key);
  for (const { key, figures, phases } of report.ways) {
    const sum = Object.values(phases).reduce((total, { mean }) => total + mean, 0);
    assert.ok(Math.abs(sum - figures.ready.mean) < 0.01, `${key}: its parts make up the whole`);
  }
  const bytes = (key: string) => way(key)?.figures.bytes.p50 ?? Number.NaN;
  assert.ok(bytes('full-pull') >= report.image.storedSize, 'a full pull gets all');
  assert.ok(bytes('lazy') > 0 && bytes('warm') < 10_000 && bytes('local') === 0, 'the others what they need');
  assert.ok((way('lazy')?.figures.cpu.p50 ?? 0) > 0 && (way('lazy')?.figures.memory.p50 ?? 0) > 20e6);
  assert.ok((way('full-pull')?.phases.pull?.p50 ?? 0) > 0);
  assert.ok(report.limit.seconds > 0.01 && report.limit.seconds < (way('full-pull')?.figures.ready.p50 ?? 0));
});

test('bench coldstart: the order of the ways changes from round to round', needs, () => {
  const order = (round: number) => report.runs.filter((run) => run.round === round).map(({ way }) => way);
  assert.deepEqual(order(0), ['full-pull', 'lazy', 'warm', 'local']);
  assert.deepEqual(order(1), ['lazy', 'warm', 'local', 'full-pull']);
});

test('bench coldstart: --fail-if ends it with 3 after all was measured, and tells which', needs, () => {
  assert.match(result.stderr, /"code":"PARTIAL".*full-pull\.bytes/);
  assert.deepEqual(
    report.failIf.map(({ failed }) => failed),
    [true, false],
  );
  assert.deepEqual(JSON.parse(result.stdout), report, '--output has what --json prints');
});

test('bench coldstart: the page needs no network, complains of nothing, and its numbers are those of the report', {
  ...every(needs, chromium()),
}, async () => {
  const url = pathToFileURL(page).href;
  await withPage(url, async ({ complaints, requested, evaluate, emulate }) => {
    assert.deepEqual(complaints, []);
    // Chromium lists the empty icon as well, which is inside the page.
    assert.deepEqual(
      requested.filter((address) => !address.startsWith('data:')),
      [url],
    );
    const cells = await evaluate<[string, string][]>(
      "[...document.querySelectorAll('[data-figure]')].map((cell) => [cell.dataset.figure, cell.dataset.value])",
    );
    const shown = new Map(cells.map(([name, value]) => [name, Number(value)]));
    for (const { key, figures, phases, toFullPull } of report.ways) {
      for (const [name, { p50 }] of Object.entries(figures)) {
        if (name !== 'first') assert.equal(shown.get(`0/${key}.${name}.p50`), p50, `${key} ${name}`);
      }
      for (const [name, { p50 }] of Object.entries(phases)) assert.equal(shown.get(`0/${key}.${name}.p50`), p50);
      assert.equal(shown.get(`0/${key}.toFullPull`), toFullPull);
    }
    // Each plot has a drawing, and the first a dot for every run.
    const plots = await evaluate<number[]>(
      "[...document.querySelectorAll('[id^=plot-]')].map((plot) => plot.querySelectorAll('svg').length)",
    );
    assert.ok(plots.length === 3 && plots.every((count) => count >= 1), plots.join());
    assert.equal(await evaluate("document.querySelectorAll('#plot-0-ready [aria-label=dot] circle').length"), 8);
    const paper = () => evaluate<string>('getComputedStyle(document.body).backgroundColor');
    assert.equal(await paper(), 'rgb(255, 255, 255)');
    await emulate({ dark: true });
    assert.equal(await paper(), 'rgb(20, 23, 28)');
    await emulate({ type: 'print', dark: true });
    assert.equal(await paper(), 'rgb(255, 255, 255)');
  });
});

test('bench coldstart: peers that are installed get the application ready, the others are refused by name', {
  ...every(needs, program('podman')),
}, async () => {
  const names = ['containerd', 'podman', 'nydusd', 'stargz'];
  const how = ['--runs=1', '--page-cache=keep', '--watch=0.1', '--net=200mbit,5ms', '--modes=local'];
  const line = ['--json', 'bench', 'coldstart', '--ready=http://127.0.0.1:8080/', ...how];
  const peers = names.flatMap((name) => ['--peer', name]);
  const { stdout } = await runTool(process.execPath, [NAIAD, ...line, ...peers, `oci:${fixturePath('app-tiny')}`]);
  const measured = JSON.parse(stdout) as ColdstartReport;
  const ready = measured.ways.flatMap(({ key, mode }) => (mode === 'peer' ? [key] : []));
  assert.deepEqual([...ready, ...measured.refused.map(({ key }) => key)].sort(), [...names].sort());
  for (const { why } of measured.refused) assert.match(why, /not on PATH$/);
  for (const { key, figures } of measured.ways.filter(({ mode }) => mode === 'peer')) {
    assert.ok(figures.bytes.p50 >= (key === 'stargz' ? 1 : 0.9 * measured.image.storedSize), key);
  }
});

test(
  'bench report: reports become pages and one small file, which makes the same page; what is no report is refused',
  needs,
  async () => {
    const [html, again, markdown, data] = ['all.html', 'again.html', 'results.md', 'results.json'].map((name) =>
      join(directory.path, name),
    ) as [string, string, string, string];
    await runTool(process.execPath, [
      ...[NAIAD, 'bench', 'report', '--html', html, '--markdown', markdown, '--data', data, output, output],
    ]);
    assert.equal(readFileSync(html, 'utf8').match(/<section /g)?.length, 2);
    assert.match(readFileSync(markdown, 'utf8'), /\[The same with plots\]\(all\.html\).*\n\[.*\]\(results\.json\)/);
    assert.ok(readFileSync(data).length < readFileSync(output).length);
    await runTool(process.execPath, [NAIAD, 'bench', 'report', '--html', again, data]);
    assert.equal(readFileSync(again, 'utf8'), readFileSync(html, 'utf8'));
    const refused = await runTool(process.execPath, [NAIAD, 'bench', 'report', '--html', html, page], { okay: [2] });
    assert.match(refused.stderr, /is no report of naiad bench coldstart/);
  },
);

test('bench report: the page of several has no complaint either, and a plot of all against full pulls', {
  ...every(needs, chromium()),
}, async () => {
  const html = join(directory.path, 'several.html');
  await runTool(process.execPath, [NAIAD, 'bench', 'report', '--html', html, output, output]);
  await withPage(pathToFileURL(html).href, async ({ complaints, evaluate }) => {
    assert.deepEqual(complaints, []);
    const dots = await evaluate<number>("document.querySelectorAll('#plot-overview [aria-label=dot] circle').length");
    assert.equal(dots, 2 * 4, 'every way of each report');
    // Nothing but tables and plots may be wider than the page, and those scroll.
    const over = await evaluate<number>('document.documentElement.scrollWidth - document.documentElement.clientWidth');
    assert.equal(over, 0);
  });
});
