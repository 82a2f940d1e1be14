// `naiad bench coldstart`: how long until an application is ready, by every way to bring its image.
import { writeFileSync } from 'node:fs';
import { NaiadError } from '../../base/errors.ts';
import { systemError } from '../../base/system-error.ts';
import type { FailIf } from '../../bench/coldstart/fail-if.ts';
import type { ColdstartReport } from '../../bench/coldstart/report-model.ts';
import type { TextTable } from '../../bench/coldstart/report-text.ts';
import { MODES, PEER_NAMES } from '../../bench/coldstart/way.ts';
import { DRIVER_NAMES } from '../../mount/driver.ts';
import { defineCommand, type Io } from '../command.ts';
import { registryArguments, registryFlags } from '../registry-flags.ts';
import { table } from '../table.ts';

const DRIVERS = ['auto', ...DRIVER_NAMES] as const;
const RUNS_MAX = 1000;
const CONTAINERS_MAX = 200;

export const command = defineCommand({
  usage: 'bench coldstart <image>',
  summary: 'Measure how soon an application is ready, lazily and not',
  examples: [
    [
      'naiad bench coldstart --ready http://127.0.0.1:8080/ oci:./app',
      'Full pull, lazy, warm and local over 100 Mbit/s',
    ],
    ['naiad bench coldstart --net 1gbit,1ms --runs 9 --html app.html --ready exit oci:./app', 'With a page of plots'],
    [
      "naiad bench coldstart --fail-if 'lazy.ready.p50 > 1.05 * full-pull.ready.p50' --ready tcp:5432 oci:./db",
      'For CI: exit code 3 when it is so',
    ],
  ],
  options: (parser) =>
    registryFlags(
      parser
        .positional('image', { type: 'string', demandOption: true, describe: 'Ordinary image: docker://, oci:, …' })
        .option('cmd', {
          type: 'string',
          array: true,
          nargs: 1,
          describe: "Command instead of the image's own; several times for its words",
        })
        .option('ready', {
          type: 'string',
          default: 'exit',
          describe: "When it is: 'log:REGEX', 'http://127.0.0.1:PORT/', 'tcp:PORT' or 'exit'",
        })
        .option('net', {
          type: 'string',
          default: '100mbit,20ms',
          describe: 'Bandwidth and round trip to the registry',
        })
        .option('runs', { type: 'number', default: 5, describe: 'Starts by each way; medians are shown' })
        .option('modes', {
          type: 'string',
          default: 'full-pull,lazy,warm,local',
          describe: `Ways, with commas: ${MODES.join(', ')}`,
        })
        .option('drivers', { type: 'string', default: 'auto', describe: `With commas: ${DRIVERS.join(', ')}` })
        .option('peer', {
          choices: PEER_NAMES,
          array: true,
          nargs: 1,
          describe: 'Another program that starts images here',
        })
        .option('containers', { type: 'number', default: 1, describe: 'Started at once; ready is when all are' })
        .option('page-cache', {
          choices: ['drop', 'keep'] as const,
          default: 'drop' as const,
          describe: 'Whether the kernel forgets all files before each start',
        })
        .option('watch', { type: 'number', default: 1, describe: 'Seconds to count traffic for after it is ready' })
        .option('timeout', { type: 'number', default: 120, describe: 'Seconds after which a start has failed' })
        .option('time-limit', {
          type: 'number',
          default: 3600,
          describe: 'Seconds within which no more than what fits of --runs is done',
        })
        .option('html', { type: 'string', requiresArg: true, describe: 'Write a page with plots here' })
        .option('output', { type: 'string', requiresArg: true, describe: 'Write what --json prints here as well' })
        .option('fail-if', {
          type: 'string',
          array: true,
          nargs: 1,
          describe: "End with 3 when it is so: 'lazy.ready.p50 > 2s'",
        }),
    ),
  async run(args, io) {
    const { parseFailIf, waysNamed, checkFailIf } = await import('../../bench/coldstart/fail-if.ts');
    const modes = listOf('--modes', args.modes, MODES);
    const drivers = listOf('--drivers', args.drivers, DRIVERS);
    const conditions = (args['fail-if'] ?? []).map(parseFailIf);
    for (const condition of conditions) checkNamed(condition, waysNamed(condition), [...modes, ...(args.peer ?? [])]);
    const { parseReady } = await import('../../ready/ready.ts');
    const { parseLink } = await import('../../bench/coldstart/link.ts');
    const link = parseLink(args.net);
    const { benchColdstart } = await import('../../bench/coldstart/coldstart-bench.ts');
    const { reportOf } = await import('../../bench/coldstart/report.ts');
    const runs = countOf('--runs', args.runs, RUNS_MAX);
    const containers = countOf('--containers', args.containers, CONTAINERS_MAX);
    const shared = { ready: parseReady(args.ready).text, link, containers };
    const outcome = await benchColdstart({
      ...shared,
      ...{
        image: args.image,
        registryArguments: registryArguments(args),
        command: args.cmd ?? [],
        runs,
        modes,
        drivers,
        peers: args.peer ?? [],
      },
      dropPageCache: args['page-cache'] === 'drop',
      watchMs: secondsOf('--watch', args.watch) * 1000,
      timeoutMs: secondsOf('--timeout', args.timeout) * 1000,
      timeLimitMs: secondsOf('--time-limit', args['time-limit']) * 1000,
      signal: io.signal,
      note: (line) => io.note(line),
    });
    const plain = reportOf(outcome, {
      ...shared,
      created: new Date().toISOString(),
      command: process.argv.slice(2),
      rounds: new Set(outcome.runs.map(({ round }) => round)).size,
      pageCache: args['page-cache'] === 'drop' ? 'dropped' : 'kept',
    });
    const report: ColdstartReport = { ...plain, failIf: conditions.map((condition) => checkFailIf(condition, plain)) };
    if (args.output !== undefined) writeTo(args.output, `${JSON.stringify(report, undefined, 1)}\n`);
    if (args.html !== undefined) {
      const { coldstartPage } = await import('../../bench/coldstart/page.ts');
      writeTo(args.html, coldstartPage([report]));
      io.note(`wrote ${args.html}`);
    }
    const text = await reportText(report);
    io.result(report, () => text);
    failOn(report, io);
  },
});

async function reportText(report: ColdstartReport): Promise<string> {
  const text = await import('../../bench/coldstart/report-text.ts');
  const lines = ({ head, rows }: TextTable) =>
    table(
      [...head, ''],
      rows.map((row) => [...row, '']),
    );
  return [
    ...text.headLines(report),
    '',
    ...lines(text.readyTable(report)),
    '',
    ...lines(text.phasesTable(report)),
    '',
    ...lines(text.costTable(report)),
    '',
    ...text.stallLines(report),
    ...text.verdictLines(report),
  ].join('\n');
}

/** Ends with PARTIAL when a condition for it holds. */
function failOn({ failIf }: ColdstartReport, io: Io): void {
  const failed = failIf.filter((condition) => condition.failed);
  if (failed.length === 0) return;
  io.note(`measured all; ${failed.length} of ${failIf.length} conditions of --fail-if hold`);
  const list = failed.map(({ text, why }) => `${text}: ${why}`).join('; ');
  throw new NaiadError('PARTIAL', `--fail-if ${list}`);
}

function checkNamed({ text }: FailIf, named: readonly string[], measured: readonly string[]): void {
  for (const way of named) {
    if (measured.includes(way.split('/')[0] as string)) continue;
    throw new NaiadError('USAGE', `--fail-if "${text}": ${way} is not among what is measured`, {
      hint: `Measured are ${measured.join(', ')}; see --modes and --peer.`,
    });
  }
}

function listOf<T extends string>(option: string, text: string, choices: readonly T[]): T[] {
  const words = [...new Set(text.split(',').map((word) => word.trim()))];
  for (const word of words) {
    if (!(choices as readonly string[]).includes(word)) {
      throw new NaiadError('USAGE', `${option}: there is no "${word}"`, { hint: `There are ${choices.join(', ')}.` });
    }
  }
  return words as T[];
}

function countOf(option: string, value: number, max: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= max) return value;
  throw new NaiadError('USAGE', `${option} ${value} is not from 1 to ${max}`);
}

function secondsOf(option: string, value: number): number {
  if (value >= 0 && value <= 3600) return value;
  throw new NaiadError('USAGE', `${option} ${value} is not from 0 to 3600`);
}

function writeTo(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (error) {
    throw systemError(error, path);
  }
}
