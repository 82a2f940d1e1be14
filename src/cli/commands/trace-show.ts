// `naiad trace show`: what a trace holds, by file.
import { writeFileSync } from 'node:fs';
import { systemError } from '../../base/system-error.ts';
import { formatSize } from '../../base/units.ts';
import type { Trace } from '../../format/trace/trace.ts';
import { describeApplied, missingLines } from '../../trace/applied-text.ts';
import type { TraceSummary } from '../../trace/files.ts';
import type { Staleness } from '../../trace/staleness.ts';
import { defineCommand } from '../command.ts';
import { readRegistryFlags, registryFlags } from '../registry-flags.ts';
import { table } from '../table.ts';

const FILES_DEFAULT = 40;
const COLUMNS_DEFAULT = 100;
const COLUMNS_MAX = 200;

export const command = defineCommand({
  usage: 'trace show <trace>',
  summary: 'Show the files of a trace, and how much of it still applies',
  examples: [
    ['naiad trace show app.trace', 'Files in the order in which they were first touched'],
    ['naiad trace show --timeline app.trace', 'When each file was touched and waited for'],
    ['naiad trace show --html app.html app.trace', 'The same as a page'],
    ['naiad trace show app.trace --image registry.example/app:2-naiad', 'How much of it helps the next version'],
  ],
  options: (parser) =>
    registryFlags(
      parser
        .positional('trace', { type: 'string', demandOption: true, describe: 'Trace, or list of paths' })
        .option('image', { type: 'string', requiresArg: true, describe: 'Match it against this image' })
        .option('platform', { type: 'string', requiresArg: true, describe: 'OS/ARCH[/VARIANT] to take from an index' })
        .option('timeline', { type: 'boolean', default: false, describe: 'Draw when files were touched' })
        .option('html', { type: 'string', requiresArg: true, describe: 'Write a page with the timeline to FILE' })
        .option('files', { type: 'number', default: FILES_DEFAULT, describe: 'Files to list; 0 for all' }),
    ),
  async run(args, io) {
    const { readTrace } = await import('../../trace/read-trace.ts');
    const { summarise } = await import('../../trace/files.ts');
    const trace = await readTrace(args.trace, io.signal);
    let applied: Staleness | undefined;
    if (args.image !== undefined) {
      const { openConvertedImage } = await import('../../transport/image.ts');
      const { staleness } = await import('../../trace/staleness.ts');
      const options = { platform: args.platform, signal: io.signal, ...readRegistryFlags(args) };
      await using image = await openConvertedImage(args.image, options);
      applied = await staleness(trace, image, io.signal);
    }
    if (args.html !== undefined) {
      const { timelinePage } = await import('../../trace/timeline.ts');
      writePage(args.html, timelinePage(trace));
    }
    const { timelineText } = await import('../../trace/timeline.ts');
    const { touches: _touches, ...head } = trace;
    const shown = { ...head, ...summarise(trace), ...(applied && { applied }) };
    const staleLines = applied
      ? [
          `${applied.image}${applied.same ? ' (the image it was recorded of)' : ''}: ${describeApplied(applied)};`,
          `  ${applied.chunks} chunks, ${formatSize(applied.bytes)}, ${formatSize(applied.storedBytes)} as stored`,
          ...missingLines(applied),
        ]
      : [];
    const rowsMax = args.files > 0 ? args.files : Number.POSITIVE_INFINITY;
    const columns = Math.min(Number(process.env.COLUMNS) || COLUMNS_DEFAULT, COLUMNS_MAX);
    const body = () => (args.timeline ? timelineText(trace, { columns, rowsMax }) : fileLines(shown, rowsMax));
    io.result(shown, () => [...headLines(trace, shown), ...body(), ...staleLines].join('\n'));
  },
});

function writePage(file: string, page: string): void {
  try {
    writeFileSync(file, page);
  } catch (error) {
    throw systemError(error, `writing ${file}`);
  }
}

function headLines(trace: Trace, summary: TraceSummary): string[] {
  const of = trace.reference ?? trace.image ?? 'no particular image';
  const ready = trace.readyMs === undefined ? '' : `; ready after ${seconds(trace.readyMs)}`;
  return [
    `${of}: ${trace.runs} ${trace.runs === 1 ? 'run' : 'runs'}${ready}${trace.cut ? '; cut at the most a recording holds' : ''}`,
    `${summary.touches} first touches of ${summary.files.length} files, ${formatSize(summary.bytes)}; ` +
      `${summary.stalls} waited, ${seconds(summary.waitMs)} in all`,
  ];
}

function fileLines({ files }: TraceSummary, filesMax: number): string[] {
  const shown = files.slice(0, filesMax);
  const rows = shown.map(({ path, firstAtMs, bytes, stalls, waitMs }) => [
    seconds(firstAtMs),
    formatSize(bytes),
    stalls === 0 ? '' : `${stalls} × ${seconds(waitMs / stalls)}`,
    path === '' ? '(unknown)' : path,
  ]);
  const more = files.length - shown.length;
  return [...table(['first', 'bytes', 'waited', 'file'], rows), ...(more > 0 ? [`… and ${more} more files`] : [])];
}

function seconds(ms: number): string {
  return ms < 1000 ? `${ms.toFixed(ms < 10 ? 1 : 0)} ms` : `${(ms / 1000).toFixed(2)} s`;
}
