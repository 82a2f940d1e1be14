// `naiad trace merge`: many recordings as one.
import { NaiadError } from '../../base/errors.ts';
import { defineCommand } from '../command.ts';

export const command = defineCommand({
  usage: 'trace merge <traces..>',
  summary: 'Make one trace of many recordings',
  examples: [
    ['naiad trace merge -o app.trace run1.trace run2.trace run3.trace', 'What half of the runs touch comes first'],
    ['naiad trace merge --min-runs 2 -o app.trace node*.trace', 'Without what only one of them touched'],
  ],
  options: (parser) =>
    parser
      .positional('traces', { type: 'string', array: true, demandOption: true, describe: 'Traces, or lists of paths' })
      .option('output', {
        alias: 'o',
        type: 'string',
        requiresArg: true,
        demandOption: true,
        describe: 'Trace to write',
      })
      .option('min-runs', { type: 'number', default: 1, describe: 'Leave out what fewer runs touched' }),
  async run(args, io) {
    const { readTrace } = await import('../../trace/read-trace.ts');
    const { mergeTraces } = await import('../../trace/merge.ts');
    const { writeTrace } = await import('../../trace/write-trace.ts');
    const { briefOf, briefText } = await import('../../trace/files.ts');
    const runsMin = args['min-runs'];
    if (!Number.isSafeInteger(runsMin) || runsMin < 1) {
      throw new NaiadError('USAGE', '--min-runs is a whole number from 1');
    }
    const traces = [];
    for (const file of args.traces) traces.push(await readTrace(file, io.signal));
    const images = new Set(traces.map(({ image }) => image));
    if (images.size > 1) io.warn('the traces are of several images');
    const merged = mergeTraces(traces, { runsMin });
    writeTrace(args.output, merged);
    const result = { file: args.output, runs: merged.runs, ...briefOf(merged) };
    io.result(result, () => `${result.file}: ${result.runs} runs, ${briefText(result)}`);
  },
});
