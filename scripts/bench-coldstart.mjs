// Measures the cold starts of the fixtures and writes the results page of the documentation with its raw data.
// usage: node scripts/bench-coldstart.mjs [--runs N] [--out DIR] [--only app-NAME,…] [--net LINK] [-- OPTIONS of bench coldstart]
// As root, on a machine that does nothing else. Images that are missing are built first.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { APPS } from '../fixtures/apps.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string', default: '5' },
    out: { type: 'string', default: 'docs/benchmarks/coldstart' },
    only: { type: 'string', default: APPS.map(({ name }) => name).join() },
    net: { type: 'string', multiple: true, default: ['1gbit,1ms', '100mbit,20ms'] },
  },
});
const naiad = ['dist/cli/main.js'];
mkdirSync(values.out, { recursive: true });
const reports = [];
for (const app of APPS.filter(({ name }) => values.only.split(',').includes(name))) {
  const layout = execFileSync(process.execPath, ['fixtures/build.mjs', app.name], { encoding: 'utf8' }).trim();
  for (const net of values.net) {
    const report = join(values.out, `${app.name}-${net.replace(',', '-')}.json`);
    const how = ['--ready', app.ready, '--net', net, '--runs', values.runs, '--output', report, ...positionals];
    // An image by the same name on every machine.
    const image = `oci:${layout.slice(layout.indexOf('.cache/'))}`;
    const { status } = spawnSync(process.execPath, [...naiad, 'bench', 'coldstart', ...how, image], {
      stdio: 'inherit',
    });
    if (status === 0) reports.push(report);
    else console.error(`${app.name} over ${net}: ended with ${status}`);
  }
}
const pages = ['--markdown', join(values.out, 'results.md'), '--html', join(values.out, 'results.html')];
execFileSync(process.execPath, [...naiad, 'bench', 'report', ...pages, ...reports], { stdio: 'inherit' });
