// `naiad demo`: the whole of it on this machine, measured.
import { tmpdir } from 'node:os';
import { NaiadError } from '../../base/errors.ts';
import { machineText } from '../../base/machine.ts';
import { formatSize, parseBandwidth, parseDuration } from '../../base/units.ts';
import { defineCommand } from '../command.ts';
import { table } from '../table.ts';

export const command = defineCommand({
  usage: 'demo',
  summary: 'Show all of it on an image made of this machine’s own Node',
  examples: [
    ['naiad demo', 'A full pull and a lazy mount over 100 Mbit/s with 20 ms'],
    ['naiad demo --bandwidth 1gbit --latency 1ms', 'As in a data centre'],
  ],
  options: (parser) =>
    parser
      .option('bandwidth', { type: 'string', default: '100mbit', requiresArg: true, describe: 'Of the link' })
      .option('latency', { type: 'string', default: '20ms', requiresArg: true, describe: 'Delay of each answer' }),
  async run({ bandwidth, latency }, io) {
    const bytesPerSecond = optionValue('--bandwidth', bandwidth, parseBandwidth, '100mbit');
    const latencyMs = optionValue('--latency', latency, parseDuration, '20ms');
    const { chooseDriver } = await import('../../mount/drivers.ts');
    chooseDriver('auto', tmpdir()); // Where nothing can be mounted, that is said at once.
    const { runDemo } = await import('../../demo/demo.ts');
    const report = await runDemo({
      bandwidth: bytesPerSecond,
      latencyMs,
      signal: io.signal,
      onStep: (line) => io.note(line),
    });
    io.result(report, reportText);
  },
});

function optionValue(name: string, text: string, parse: (text: string) => number | undefined, example: string): number {
  const value = parse(text);
  if (value !== undefined) return value;
  throw new NaiadError('USAGE', `${name} ${JSON.stringify(text)} is not understood`, {
    hint: `For example: ${name} ${example}`,
  });
}

type Report = Awaited<ReturnType<typeof import('../../demo/demo.ts').runDemo>>;

function reportText({ machine, link, image, output, full, lazy, warm, shares }: Report): string {
  const percent = (share: number) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
  const row = (name: string, run: Report['full'] | Report['lazy'], share: { seconds: number; bytes: number }) => [
    `${run.firstOutputSeconds.toFixed(2)} s`,
    percent(share.seconds),
    formatSize(run.bytes),
    percent(share.bytes),
    String(run.requests),
    name,
  ];
  const megabits = formatMegabits(link.bytesPerSecond);
  return [
    output,
    '',
    `image: ${image.layers.length} layers, ${image.files} files, ${formatSize(image.tarSize)} of tar; ` +
      `${formatSize(image.storedSize)} compressed, ${formatSize(image.convertedSize)} converted in ${image.convertSeconds.toFixed(2)} s`,
    '',
    ...table(
      ['first output', 'of full', 'fetched', 'of full', 'requests', ''],
      [
        row('full pull: download all, unpack, run', full, { seconds: 1, bytes: 1 }),
        row('lazy: mount with an empty cache, run', lazy, shares.lazy),
        row('warm: mount again with the cache kept, run', warm, shares.warm),
      ],
    ),
    '',
    `one run on ${machineText(machine)}, driver ${lazy.driver}; ` +
      `link of ${megabits} Mbit/s and ${link.latencyMs} ms on loopback`,
  ].join('\n');
}

function formatMegabits(bytesPerSecond: number): string {
  return String(Number(((bytesPerSecond * 8) / 1e6).toPrecision(3)));
}
