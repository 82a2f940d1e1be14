// Measures the cold starts of the fixtures and writes the results page of the documentation with its data.
// usage: node scripts/bench-coldstart.mjs [--runs N] [--minutes M] [--images app-NAME,…] [--net LINK]… [--many app-NAME] [--resume]
//        [--raw DIR] [--out DIR] [-- OPTIONS of bench coldstart]
// --many app-NAME adds starts of 20 containers of one image at once, over the last link.
// As root, on a machine that does nothing else. Images that are missing are built first, outside of the minutes.
// An image over a link that fails is tried once more after the others; the pages are written anew after each.
// --resume leaves out what has a report already; a failed or interrupted run goes on where it was.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { APPS } from '../fixtures/apps.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string', default: '5' },
    minutes: { type: 'string', default: '60' },
    images: { type: 'string', default: APPS.map(({ name }) => name).join() },
    net: { type: 'string', multiple: true, default: ['1gbit,1ms', '100mbit,20ms'] },
    many: { type: 'string' },
    resume: { type: 'boolean', default: false },
    raw: { type: 'string', default: '.cache/bench-coldstart' },
    out: { type: 'string', default: 'docs/benchmarks' },
  },
});
const NAIAD = 'dist/cli/main.js';
/**
 * What one image over one link takes, as it was measured: copying, converting, unpacking and recording it; and a round of six
 * starts with what comes before and after each. Both grow with the image, and with the time that a full pull has to wait for bytes.
 */
const PREPARE = { seconds: 14, perMegabyte: 0.1, perPull: 0.5 };
const ROUND = { seconds: 12.5, perMegabyte: 0.04, perPull: 1.4 };
/** So much later than it should have ended, a measurement is taken for stuck. */
const LATE_SECONDS = 300;

/** Containers of one image at once, and how much longer a round of them takes. */
const MANY = 20;
const MANY_TIMES = 2;

const chosen = appsNamed(values.images);
const many = values.many === undefined ? [] : appsNamed(values.many);
/** In the order of measuring: an image over all links, so that its files are near. */
const jobs = [
  ...chosen.flatMap((app) => values.net.map((net) => jobOf(app, net, 1))),
  ...many.map((app) => jobOf(app, values.net.at(-1), MANY)),
];
const began = Date.now();
const endsAt = began + Number(values.minutes) * 60_000;
let interrupted = false;
let running;
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    interrupted = true;
    running?.kill('SIGINT');
  });
}
mkdirSync(values.raw, { recursive: true });
mkdirSync(values.out, { recursive: true });
const failed = [];
// Figures of another time do not stand beside those of this one.
if (!values.resume) for (const { report } of jobs) rmSync(report, { force: true });
const left = jobs.filter(({ report }) => !existsSync(report));
say(`${left.length} of ${jobs.length} to measure, ${values.minutes} minutes`);
for (let job = left.shift(); job && !interrupted; job = left.shift()) {
  const share = job.seconds / [job, ...left].reduce((sum, { seconds }) => sum + seconds, 0);
  const seconds = Math.max(0, Math.round((share * (endsAt - Date.now())) / 1000));
  say(`${job.title}: ${seconds} s for it`);
  const jobBegan = Date.now();
  const why = await measure(job, seconds);
  if (why !== undefined && !job.again && !interrupted) left.push({ ...job, again: true });
  else if (why !== undefined) failed.push(`${job.title}: ${why}`);
  const took = Math.round((Date.now() - jobBegan) / 1000);
  say(`${job.title}: ${why ?? 'done'} after ${took} s`);
  writePages();
}
const undone = left.map(({ title }) => `${title}: not begun`);
for (const line of [...failed, ...undone]) say(line);
say(`${jobs.length - failed.length - undone.length} of ${jobs.length} have a report`);
process.exitCode = failed.length + undone.length > 0 ? 3 : 0;

function appsNamed(list) {
  const names = list.split(',').map((name) => name.replace(/^(app-)?/, 'app-'));
  const unknown = names.filter((name) => APPS.every((app) => app.name !== name));
  const known = APPS.map(({ name }) => name).join();
  if (unknown.length > 0) throw new Error(`there is no ${unknown.join()}; there are ${known}`);
  return APPS.filter(({ name }) => names.includes(name));
}

function jobOf(app, net, containers) {
  const layout = execFileSync(process.execPath, ['fixtures/build.mjs', app.name], { encoding: 'utf8' }).trim();
  return {
    ...{ app, net, containers, report: reportPath(app.name, net, containers) },
    title: `${app.name} over ${net}${containers > 1 ? `, ${containers} at once` : ''}`,
    // An image by the same name on every machine.
    image: `oci:${layout.slice(layout.indexOf('.cache/'))}`,
    seconds: estimateSeconds(layout, net, containers > 1 ? MANY_TIMES : 1),
  };
}

function reportPath(name, net, containers) {
  return join(values.raw, `${name}-${net.replace(',', '-')}${containers > 1 ? `-${containers}` : ''}.json`);
}

/** For sharing out the time alone. */
function estimateSeconds(layout, net, times) {
  const blobs = join(layout, 'blobs/sha256');
  const bytes = readdirSync(blobs).reduce((sum, name) => sum + statSync(join(blobs, name)).size, 0);
  const [, count, unit] = /^([\d.]+)([kmg])bit/.exec(net) ?? [];
  const pull = (bytes * 8) / (Number(count) * { k: 1e3, m: 1e6, g: 1e9 }[unit]);
  const [prepare, round] = [PREPARE, ROUND].map(
    ({ seconds, perMegabyte, perPull }) => seconds + perMegabyte * (bytes / 1e6) + perPull * pull,
  );
  return prepare + Number(values.runs) * round * times;
}

/** Why it failed; undefined when there is a report. */
async function measure({ app, net, containers, image, report }, seconds) {
  const part = `${report}.part`;
  const how = ['--ready', app.ready, '--net', net, '--runs', values.runs, '--time-limit', String(seconds)];
  const args = [
    NAIAD,
    'bench',
    'coldstart',
    ...how,
    '--containers',
    String(containers),
    '--output',
    part,
    ...positionals,
    image,
  ];
  running = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'], detached: true });
  const stuck = setTimeout(() => running.kill('SIGINT'), (seconds + LATE_SECONDS) * 1000);
  const code = await new Promise((resolve) => running.once('close', (status, signal) => resolve(status ?? signal)));
  clearTimeout(stuck);
  if (code === 0) renameSync(part, report);
  else rmSync(part, { force: true });
  return code === 0 ? undefined : `ended with ${code}`;
}

/** Of everything that has a report, also from before. */
function writePages() {
  const reports = APPS.flatMap(({ name }) =>
    [1, MANY].flatMap((containers) => values.net.map((net) => reportPath(name, net, containers))),
  );
  const present = reports.filter((path) => existsSync(path));
  if (present.length === 0) return;
  const place = (ending) => join(values.out, `coldstart-results.${ending}`);
  const pages = ['--markdown', place('md'), '--html', place('html'), '--data', place('json')];
  execFileSync(process.execPath, [NAIAD, '--quiet', 'bench', 'report', ...pages, ...present], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

/** With the time, and how much is left. */
function say(text) {
  const leftSeconds = Math.max(0, Math.round((endsAt - Date.now()) / 1000));
  const clock = new Date().toISOString().slice(11, 19);
  console.error(
    `[${clock}, ${Math.floor(leftSeconds / 60)}:${String(leftSeconds % 60).padStart(2, '0')} left] ${text}`,
  );
}
