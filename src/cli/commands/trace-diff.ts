// `naiad trace diff`: what one start touches and another does not.
import { formatSize } from '../../base/units.ts';
import type { DiffSide, TraceDiff } from '../../trace/diff.ts';
import { defineCommand } from '../command.ts';
import { table } from '../table.ts';

const SIGNS = { first: '-', second: '+', changed: '~' } as const;

export const command = defineCommand({
  usage: 'trace diff <first> <second>',
  summary: 'Compare two traces: files, bytes and waits',
  examples: [
    ['naiad trace diff before.trace after.trace', 'Files with - are in the first alone, with + in the second'],
  ],
  options: (parser) =>
    parser
      .positional('first', { type: 'string', demandOption: true, describe: 'Trace, or list of paths' })
      .positional('second', { type: 'string', demandOption: true, describe: 'Trace, or list of paths' }),
  async run(args, io) {
    const { readTrace } = await import('../../trace/read-trace.ts');
    const { diffTraces } = await import('../../trace/diff.ts');
    const [first, second] = [await readTrace(args.first, io.signal), await readTrace(args.second, io.signal)];
    io.result(diffTraces(first, second), (diff) => [...sides(args, diff), ...files(diff)].join('\n'));
  },
});

function sides({ first, second }: { readonly first: string; readonly second: string }, diff: TraceDiff): string[] {
  const row = (name: string, side: DiffSide) => [
    ready(side.readyMs),
    String(side.touches),
    formatSize(side.bytes),
    `${side.stalls} × ${ready(side.stalls === 0 ? 0 : side.waitMs / side.stalls)}`,
    name,
  ];
  return [
    ...table(['ready', 'touches', 'bytes', 'waited', 'trace'], [row(first, diff.first), row(second, diff.second)]),
    `${diff.same} touches are the same, ${diff.changed} have other content now, ${diff.onlyFirst} are in the first alone, ${diff.onlySecond} in the second`,
  ];
}

function files(diff: TraceDiff): string[] {
  return diff.files.map(({ kind, path, bytes }) => `${SIGNS[kind]} ${path || '(unknown)'} (${formatSize(bytes)})`);
}

function ready(ms: number | undefined): string {
  if (ms === undefined) return '-';
  return ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`;
}
