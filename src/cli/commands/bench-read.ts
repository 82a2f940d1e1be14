// `naiad bench read`: how fast files of a mounted image are, by every driver, against ext4 and a minimal FUSE file system.
import { machineText } from '../../base/machine.ts';
import { DRIVER_NAMES } from '../../mount/driver.ts';
import { defineCommand } from '../command.ts';
import { registryArguments, registryFlags } from '../registry-flags.ts';
import { table } from '../table.ts';

export const command = defineCommand({
  usage: 'bench read <image>',
  summary: 'Measure how fast files of a mounted image are, by driver',
  examples: [
    ['naiad bench read registry.example/app:1-naiad', 'every driver that works here, ext4, and the floor'],
    ['naiad bench read --driver=erofs --runs 9 --json oci:layout:app', 'one driver, all numbers'],
  ],
  options: (parser) =>
    registryFlags(
      parser
        .positional('image', { type: 'string', demandOption: true, describe: 'Converted image' })
        .option('driver', {
          choices: DRIVER_NAMES,
          array: true,
          nargs: 1,
          describe: 'Drivers to measure instead of all',
        })
        .option('runs', { type: 'number', default: 5, describe: 'Rounds; medians are shown' }),
    ),
  async run(args, io) {
    const { NaiadError } = await import('../../base/errors.ts');
    if (!(Number.isInteger(args.runs) && args.runs >= 1 && args.runs <= RUNS_MAX)) {
      throw new NaiadError('USAGE', `--runs ${args.runs} is not from 1 to ${RUNS_MAX}`);
    }
    const { benchRead } = await import('../../bench/read-bench.ts');
    const report = await benchRead({
      image: args.image,
      registryArguments: registryArguments(args),
      drivers: args.driver ?? DRIVER_NAMES,
      runs: args.runs,
      signal: io.signal,
      note: (line) => io.note(line),
    });
    io.result(report, () => reportText(report));
  },
});

const RUNS_MAX = 1000;

type Report = Awaited<ReturnType<typeof import('../../bench/read-bench.ts').benchRead>>;
type Figure = Report['figures'][number];

const TITLES: Readonly<Record<Figure['operation'], string>> = {
  stat: 'stat, µs',
  'open-read-close': 'open, read, close, µs',
  readdir: 'readdir, µs a name',
  sequential: 'sequential read, MB/s',
  random: 'random 4 KiB read, µs',
};

function reportText(report: Report): string {
  const { targets, figures } = report;
  const keys = [...new Set(figures.map(({ operation, state }) => `${operation} ${state}`))];
  const row = (key: string, cell: (figure: Figure) => string) => {
    const [operation, state] = key.split(' ');
    const own = figures.filter((figure) => figure.operation === operation && figure.state === state);
    return [`${TITLES[operation as Figure['operation']]}, ${state}`, ...own.map(cell), ''];
  };
  const head = (title: string) => [title, ...targets.map(({ name }) => name), ''];
  const times = (value: number | undefined) => (value === undefined ? '-' : `${value.toFixed(2)} x`);
  return [
    `${report.image}, medians of ${report.runs} runs`,
    machineText(report.machine),
    ...targets.map(({ name, what }) => `${name}: ${what}`),
    ...report.missing.map(({ name, why }) => `${name}: not measured: ${why}`),
    '',
    ...table(
      head(''),
      keys.map((key) => row(key, median)),
    ),
    '',
    ...table(
      head('time, of ext4’s'),
      keys.map((key) => row(key, ({ toExt4 }) => times(toExt4))),
    ),
    '',
    ...table(
      head('time, of the floor’s'),
      keys.map((key) => row(key, ({ toFloor }) => times(toFloor))),
    ),
    '',
    ...report.goals.map(
      ({ target, operation, state, baseline, ratio, ratioMax, reached }) =>
        `${reached ? 'reached' : 'MISSED '}  ${target}, ${operation}, ${state}: ${ratio.toFixed(2)} x ${baseline}, at most ${ratioMax.toFixed(2)}`,
    ),
  ].join('\n');
}

function median({ microseconds, megabytesPerSecond }: Figure): string {
  if (megabytesPerSecond) return megabytesPerSecond.median.toFixed(0);
  return microseconds.median.toFixed(microseconds.median < 10 ? 2 : 1);
}
