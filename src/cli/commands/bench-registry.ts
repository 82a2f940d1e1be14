// `naiad bench registry`: how fast blobs are pushed and ranges are read, beside skopeo and wrk.
import { machineText } from '../../base/machine.ts';
import { formatSize, parseSize } from '../../base/units.ts';
import { defineCommand } from '../command.ts';
import { table } from '../table.ts';

export const command = defineCommand({
  usage: 'bench registry',
  summary: 'Measure pushes and ranged reads, against skopeo and wrk',
  examples: [
    ['naiad bench registry', 'docker-registry and nginx on loopback, with a blob of 1 GiB'],
    ['naiad bench registry --size 64MiB --runs 1 --seconds 1', 'whether it works here'],
  ],
  options: (parser) =>
    parser
      .option('size', { type: 'string', default: '1GiB', requiresArg: true, describe: 'Of the blob' })
      .option('concurrency', { type: 'number', default: 16, describe: 'Ranged requests at once' })
      .option('seconds', { type: 'number', default: 3, describe: 'Of each measurement of reads' })
      .option('runs', { type: 'number', default: 5, describe: 'Of each; medians are shown' }),
  async run(args, io) {
    const { NaiadError } = await import('../../base/errors.ts');
    const size = parseSize(args.size);
    if (size === undefined || size < SIZE_MIN) throw new NaiadError('USAGE', `--size ${args.size} is not 1MiB or more`);
    for (const name of ['concurrency', 'seconds', 'runs'] as const) {
      if (Number.isInteger(args[name]) && args[name] >= 1 && args[name] <= COUNT_MAX) continue;
      throw new NaiadError('USAGE', `--${name} ${args[name]} is not from 1 to ${COUNT_MAX}`);
    }
    const { benchRegistry } = await import('../../bench/registry-bench.ts');
    const { concurrency, seconds, runs } = args;
    const note = (line: string) => io.note(line);
    const report = await benchRegistry({ size, concurrency, seconds, runs, signal: io.signal, note });
    io.result(report, reportText);
  },
});

const SIZE_MIN = 2 ** 20;
const COUNT_MAX = 1000;

type Report = Awaited<ReturnType<typeof import('../../bench/registry-bench.ts').benchRegistry>>;

function reportText(report: Report): string {
  const rate = (spread: { median: number; min: number; max: number } | undefined) =>
    spread ? `${spread.median.toFixed(0)} (${spread.min.toFixed(0)} to ${spread.max.toFixed(0)})` : '-';
  const rows = report.comparisons.map(({ what, server, naiad, peer, peers, ratio }) => [
    `${what}, ${server}`,
    rate(naiad),
    rate(peers),
    ratio === undefined ? '-' : ratio.toFixed(2),
    `of ${peer}`,
  ]);
  return [
    `a blob of ${formatSize(report.size)}, ${report.concurrency} ranges at once, medians of ${report.runs} runs`,
    machineText(report.machine),
    ...report.missing.map(({ name, why }) => `${name}: absent: ${why}`),
    '',
    ...table(['MB/s', 'naiad', 'the peer', 'ratio', ''], rows),
  ].join('\n');
}
