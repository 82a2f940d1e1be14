// Draws the picture of the README out of the results of bench coldstart: seconds to ready, a group of bars an application.
// usage: node scripts/picture.mjs [RESULTS.json] [PICTURE.svg]
// Needs Chromium (Debian: chromium), which only runs the plotting library.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

const [results = 'docs/benchmarks/coldstart-results.json', picture = 'docs/benchmarks/coldstart.svg'] =
  process.argv.slice(2);
/** The slowest link that was measured shows what the image costs. */
const LINK = '100mbit,20ms';
const WAYS = ['full-pull', 'lazy', 'trace', 'optimized', 'warm'];
/** Below this, a start is no matter of the image. */
const IMAGE_SIZE_MIN = 10e6;

const reports = JSON.parse(readFileSync(results, 'utf8')).filter(
  ({ link, containers, image }) => link.text === LINK && containers === 1 && image.storedSize >= IMAGE_SIZE_MIN,
);
const NAMES = { flask: 'Flask', node: 'Node', nginx: 'nginx', postgres: 'PostgreSQL', java: 'OpenJDK', php: 'PHP' };
const nameOf = ({ image }) => NAMES[image.reference.replace(/.*app-/, '')] ?? image.reference;
const bars = reports.flatMap((report) =>
  report.ways
    .filter(({ key }) => WAYS.includes(key))
    .map(({ key, figures }) => ({ app: nameOf(report), way: key, seconds: figures.ready.p50 })),
);
const limits = reports.map((report) => ({ app: nameOf(report), seconds: report.limit.seconds }));

/** Runs in the browser: everything it uses is given to it. */
function draw(Plot, { bars, limits, ways }) {
  return Plot.plot({
    width: 860,
    height: 40 + limits.length * 92,
    marginLeft: 96,
    marginRight: 96,
    marginBottom: 46,
    style: { background: 'transparent', color: '#6e7781', fontSize: '13px', fontFamily: 'sans-serif' },
    x: {
      label: 'seconds until the application answers, from a registry over 100 Mbit/s and 20 ms',
      labelAnchor: 'center',
      labelArrow: 'none',
    },
    y: { axis: null, domain: ways, padding: 0.12 },
    fy: { label: null, padding: 0.16 },
    color: { domain: ways, range: ['#8c959f', '#54aeff', '#218bff', '#0969da', '#2da44e'] },
    marks: [
      Plot.barX(bars, { x: 'seconds', y: 'way', fy: 'app', fill: 'way', sort: { fy: '-x', reduce: 'max' } }),
      Plot.text(bars, {
        x: 'seconds',
        y: 'way',
        fy: 'app',
        text: ({ way, seconds }) => `${seconds.toFixed(1)} ${way}`,
        dx: 4,
        textAnchor: 'start',
        fill: 'currentColor',
      }),
      Plot.ruleX(limits, { x: 'seconds', fy: 'app', stroke: 'currentColor', strokeDasharray: '3 2' }),
    ],
  }).outerHTML;
}

const require = createRequire(import.meta.url);
const library = (name, file) => readFileSync(join(dirname(require.resolve(name)), '..', file), 'utf8');
const scratch = mkdtempSync(join(tmpdir(), 'naiad-picture-'));
try {
  const page = join(scratch, 'page.html');
  const data = JSON.stringify({ bars, limits, ways: WAYS }).replaceAll('<', '\\u003c');
  writeFileSync(
    page,
    `<script>${library('d3', 'dist/d3.min.js')}</script><script>${library('@observablehq/plot', 'dist/plot.umd.min.js')}</script>
    <body><script>document.body.innerHTML = (${draw})(Plot, ${data})</script></body>`,
  );
  const chromium = ['--headless', '--no-sandbox', '--disable-gpu', `--user-data-dir=${join(scratch, 'profile')}`];
  const dom = execFileSync('chromium', [...chromium, '--dump-dom', `file://${page}`], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const svg = /<body><svg.*?<\/svg>/s.exec(dom)?.[0].slice('<body>'.length);
  if (!svg) throw new Error('the browser drew nothing');
  writeFileSync(picture, `${svg.replace('<svg', '<svg xmlns="http://www.w3.org/2000/svg"')}\n`);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
