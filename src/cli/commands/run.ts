import { isatty } from 'node:tty';
import { NaiadError } from '../../base/errors.ts';
import { formatSize } from '../../base/units.ts';
import type { RunOutcome } from '../../mount/run-container.ts';
import { defineCommand } from '../command.ts';
import { containerFlags, readContainerFlags } from '../container-flags.ts';

export const command = defineCommand({
  usage: 'run <image> [command..]',
  summary: 'Run a command in an image with runc or crun',
  examples: [
    ['naiad run registry.example/python:3-naiad python3 -c "print(1)"', 'Options come before the image'],
    ['naiad run -it --volume /src:/src:ro oci:layout:app sh', 'A shell on this terminal'],
    ['naiad run --stats oci:layout:app', 'Tell on stderr what the start took and fetched'],
  ],
  passThrough: true,
  options: (parser) =>
    containerFlags(parser)
      .option('read-only', { type: 'boolean', default: false, describe: 'The root file system cannot be written' })
      .option('tty', { alias: 't', type: 'boolean', default: false, describe: 'Give it a terminal' })
      .option('interactive', {
        alias: 'i',
        type: 'boolean',
        default: false,
        describe: 'Accepted: stdin is always connected',
      })
      .option('rm', { type: 'boolean', default: true, describe: 'Accepted: nothing of a container stays' })
      .option('trace', {
        type: 'string',
        requiresArg: true,
        describe: 'When it has ended, write to FILE what it read first',
      })
      .option('stats', { type: 'boolean', default: false, describe: 'Tell what the start took and fetched' }),
  async run(args, io) {
    const { runContainer } = await import('../../mount/run-container.ts');
    if (args.tty && !isatty(0)) {
      throw new NaiadError('USAGE', '--tty needs a terminal, and stdin is none', { hint: 'Leave out --tty.' });
    }
    const outcome = await runContainer(
      { ...(await readContainerFlags(args)), readOnly: args['read-only'], tty: args.tty, recordTo: args.trace },
      io.signal,
    );
    io.setExitCode(outcome.exitCode);
    if (!args.stats) return;
    if (io.json) io.result(statsOf(outcome), () => '');
    else for (const line of renderStats(outcome)) io.note(line);
  },
});

function statsOf({ exitCode, mountedMs, startedMs, totalMs, status }: RunOutcome) {
  const { counters, metadataBytes, devices } = status;
  return {
    exitCode,
    mountedMs,
    startedMs,
    totalMs,
    metadataBytes,
    fetchedBytes: counters.backend.bytes,
    requests: counters.backend.requests,
    readBytes: counters.readBytes,
    cachedBytes: devices.reduce((sum, device) => sum + device.bytes, 0),
    imageBytes: devices.reduce((sum, device) => sum + device.bytesTotal, 0),
  };
}

function renderStats(outcome: RunOutcome): string[] {
  const stats = statsOf(outcome);
  const seconds = (ms: number | undefined) => (ms === undefined ? 'never' : `${(ms / 1000).toFixed(2)} s`);
  return [
    `mounted after ${seconds(stats.mountedMs)}, started after ${seconds(stats.startedMs)}, ended after ${seconds(stats.totalMs)}`,
    `fetched ${formatSize(stats.metadataBytes)} of metadata and ${formatSize(stats.fetchedBytes)} of data in ${stats.requests} requests`,
    `read ${formatSize(stats.readBytes)}; cached ${formatSize(stats.cachedBytes)} of ${formatSize(stats.imageBytes)}`,
  ];
}
