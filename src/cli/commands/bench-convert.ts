// `naiad bench convert`: how fast an image is converted here, and what the time goes into.
import { machineText } from '../../base/machine.ts';
import { formatSize } from '../../base/units.ts';
import { defineCommand } from '../command.ts';
import { registryArguments, registryFlags } from '../registry-flags.ts';
import { table } from '../table.ts';
import { buildFlags } from './convert.ts';

export const command = defineCommand({
  usage: 'bench convert <source>',
  summary: 'Measure how fast an image is converted',
  examples: [
    ['naiad bench convert oci:./debian:12', 'five runs into a directory that is thrown away'],
    ['naiad bench convert --runs 9 --json oci:./debian:12', 'all numbers of every run'],
  ],
  options: (parser) =>
    registryFlags(
      buildFlags(
        parser.positional('source', {
          type: 'string',
          demandOption: true,
          describe: 'docker://, oci:, oci-archive:, docker-archive: or dir:',
        }),
      ),
    ).option('runs', { type: 'number', default: 5, describe: 'Conversions to measure' }),
  async run(args, io) {
    const { NaiadError } = await import('../../base/errors.ts');
    if (!(Number.isInteger(args.runs) && args.runs >= 1 && args.runs <= RUNS_MAX)) {
      throw new NaiadError('USAGE', `--runs ${args.runs} is not from 1 to ${RUNS_MAX}`);
    }
    const { benchConvert } = await import('../../bench/convert-bench.ts');
    const report = await benchConvert({
      source: args.source,
      flags: [...passedFlags(args), ...registryArguments(args)],
      runs: args.runs,
      signal: io.signal,
      onRun: (run, index) => io.note(`run ${index + 1}: ${rate(run.megabytesPerSecond)}, ${run.seconds.toFixed(2)} s`),
    });
    io.result(report, () => reportText(report));
  },
});

const RUNS_MAX = 1000;

/** The flags of a conversion, as they are handed on. */
function passedFlags(args: Readonly<Record<string, unknown>>): string[] {
  const names = ['compressor', 'level', 'chunk-size', 'digester', 'jobs', 'prefetch', 'prefetch-list', 'platform'];
  return names.flatMap((name) => {
    const value = args[name];
    const values = Array.isArray(value) ? value : value === undefined ? [] : [value];
    return values.map((one) => `--${name}=${one}`);
  });
}

type Report = Awaited<ReturnType<typeof import('../../bench/convert-bench.ts').benchConvert>>;

function reportText(report: Report): string {
  const spread = (name: string, { median, min, max }: Report['seconds'], show: (value: number) => string) => [
    name,
    show(median),
    show(min),
    show(max),
    '',
  ];
  const seconds = (value: number) => value.toFixed(2);
  const cpu = report.cpuSeconds.median;
  const size = formatSize(report.tarSize);
  return [
    `${report.source}: ${size} of tar (${formatSize(report.storedSize)} stored) in ${report.layers} layers, ${report.files} files`,
    machineText(report.machine),
    `naiad convert ${report.flags.join(' ')}`,
    '',
    ...table(
      [`${report.runs.length} runs`, 'median', 'min', 'max', ''],
      [
        spread('MB of tar a second', report.megabytesPerSecond, (value) => value.toFixed(1)),
        spread('seconds', report.seconds, seconds),
        spread('seconds with the start of the process', report.processSeconds, seconds),
        spread('CPU seconds', report.cpuSeconds, seconds),
        spread('peak memory, MiB', report.peakMemory, (value) => (value / 2 ** 20).toFixed(0)),
      ],
    ),
    '',
    ...table(
      ['CPU share', 'seconds', 'of what'],
      Object.entries(report.shares).map(([name, value]) => [
        `${((100 * value) / cpu).toFixed(0)} %`,
        seconds(value),
        SHARE_TEXTS[name] ?? name,
      ]),
    ),
  ].join('\n');
}

/** What src/convert/usage.ts counts. */
const SHARE_TEXTS: Readonly<Record<string, string>> = {
  compress: 'compressing chunks (Node’s thread pool)',
  pool: 'gunzip, sha256, reading and writing files (Node’s thread pool)',
  digest: 'digests of chunks and their lookup (main thread)',
  main: 'tar, tree, bootstrap, all else (main thread)',
  engine: 'garbage collection, compiling JavaScript (V8’s threads)',
};

function rate(megabytes: number): string {
  return `${megabytes.toFixed(1)} MB/s`;
}
