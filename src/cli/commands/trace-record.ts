// `naiad trace record`: run a container until it is ready, and keep what it read.
import { NaiadError } from '../../base/errors.ts';
import { parseDuration } from '../../base/units.ts';
import { defineCommand } from '../command.ts';
import { containerFlags, readContainerFlags } from '../container-flags.ts';

const TIMEOUT_DEFAULT = '600s';
/** Behind the image they are the container's, which a program may mean, and who types them seldom does. */
const MEANT_FOR_US = /^(--(ready|output|duration|timeout|cmd)(=|$)|-o$)/;

export const command = defineCommand({
  usage: 'trace record <image> [command..]',
  summary: 'Run an image until it is ready, and keep what it read',
  examples: [
    ['naiad trace record --ready http://127.0.0.1:8080/ registry.example/app:1-naiad', 'Writes app.trace'],
    ["naiad trace record --ready 'log:ready to accept' -o pg.trace registry.example/postgres:16-naiad", 'By its log'],
    ['naiad trace record --duration 20s oci:layout:app', 'What it reads in its first 20 seconds'],
    ['naiad trace record --ready exit oci:layout:app python3 -c "import flask"', 'A command that ends'],
  ],
  passThrough: true,
  options: (parser) =>
    containerFlags(parser)
      .option('output', {
        alias: 'o',
        type: 'string',
        requiresArg: true,
        describe: 'Trace to write; .zst is compressed',
      })
      .option('cmd', {
        type: 'string',
        requiresArg: true,
        describe: "Instead of the image's command: a line for sh -c",
      })
      .option('ready', {
        type: 'string',
        requiresArg: true,
        describe: "When it counts as started: 'log:REGEX', 'http://…', 'tcp:[HOST:]PORT' or 'exit'",
      })
      .option('duration', { type: 'string', requiresArg: true, describe: 'How long to go on then: 500ms, 20s' })
      .option('timeout', {
        type: 'string',
        requiresArg: true,
        default: TIMEOUT_DEFAULT,
        describe: 'It must be ready within this time',
      }),
  async run(args, io) {
    const { recordTrace } = await import('../../mount/record-trace.ts');
    const { parseReady } = await import('../../ready/ready.ts');
    const { writeTrace } = await import('../../trace/write-trace.ts');
    const { briefOf, briefText } = await import('../../trace/files.ts');
    const file = args.output ?? traceName(args.image);
    if (args.cmd !== undefined && args.command.length > 0) {
      throw new NaiadError('USAGE', 'there are two commands: --cmd, and what follows the image', {
        hint: 'Leave out one.',
      });
    }
    const [behind = ''] = args.command;
    if (MEANT_FOR_US.test(behind)) io.warn(`${behind} is given to the container: options come before the image`);
    const { trace, ended } = await recordTrace(
      {
        run: {
          ...(await readContainerFlags(args)),
          ...(args.cmd !== undefined && { command: ['/bin/sh', '-c', args.cmd] }),
          readOnly: false,
          tty: false,
        },
        ready: args.ready === undefined ? undefined : parseReady(args.ready),
        durationMs: args.duration === undefined ? undefined : duration('--duration', args.duration),
        timeoutMs: duration('--timeout', args.timeout),
      },
      io.signal,
    );
    if (ended && ended.code !== 0) io.warn(`the container ended with ${ended.code}: ${ended.said}`);
    writeTrace(file, trace);
    const result = { file, image: trace.image, readyMs: trace.readyMs, ...briefOf(trace) };
    io.result(result, () => {
      const ready = trace.readyMs === undefined ? '' : `ready after ${(trace.readyMs / 1000).toFixed(2)} s; `;
      return `${file}: ${ready}${briefText(result)}`;
    });
  },
});

/** `registry.example/team/app:1` writes `app.trace`. */
function traceName(image: string): string {
  const name = /([A-Za-z0-9_.-]+?)(?:[:@][^/]*)?$/.exec(image)?.[1] ?? 'image';
  return `${name}.trace`;
}

function duration(option: string, text: string): number {
  const ms = parseDuration(text);
  if (ms !== undefined) return ms;
  throw new NaiadError('USAGE', `${option} ${text} is no time`, { hint: 'Write 500ms or 20s.' });
}
