// `naiad optimize`: an image rearranged so that its start reads one blob from end to end.
import { describeApplied } from '../../trace/applied-text.ts';
import { defineCommand } from '../command.ts';
import { optimizedText } from '../optimized-text.ts';
import { knownHosts, readSourceTargetFlags, sourceTargetFlags } from '../registry-flags.ts';

export const command = defineCommand({
  usage: 'optimize <image> <target>',
  summary: 'Put what a start reads into one blob, which comes first',
  examples: [
    ['naiad optimize --trace app.trace reg.example/app:1-naiad reg.example/app:1-fast', 'As a trace has recorded it'],
    ['naiad optimize --trace a.trace --trace b.trace oci:./app:naiad oci:./app:fast', 'For several ways to start it'],
  ],
  options: (parser) =>
    sourceTargetFlags(
      parser
        .positional('image', { type: 'string', demandOption: true, describe: 'Converted image' })
        .positional('target', { type: 'string', demandOption: true, describe: 'docker://, oci: or oci-archive:' })
        .option('trace', {
          type: 'string',
          array: true,
          nargs: 1,
          demandOption: true,
          describe: 'Trace, or list of paths; several are merged',
        })
        .option('level', {
          type: 'number',
          requiresArg: true,
          describe: 'Of zstd, 1 to 22, in that blob  [default: 19]',
        })
        .option('platform', { type: 'string', requiresArg: true, describe: 'OS/ARCH[/VARIANT] to take from an index' }),
    ),
  async run(args, io) {
    const { optimizeReference } = await import('../../convert/optimize-reference.ts');
    const { readTraces } = await import('../../trace/read-trace.ts');
    const trace = await readTraces(args.trace, io.signal);
    const { source, target } = readSourceTargetFlags(args);
    const registries = { registry: { ...source, ...knownHosts() }, targetRegistry: { ...target, ...knownHosts() } };
    using progress = io.progress(`optimizing ${args.image}`);
    const hooks = {
      signal: io.signal,
      onProgress: (state: Parameters<typeof progress.update>[0]) => progress.update(state),
    };
    const { platform, level } = args;
    const report = await optimizeReference(args.image, args.target, trace, { platform, level, ...registries }, hooks);
    progress[Symbol.dispose]();
    if (!report.same && trace.image !== undefined) {
      io.warn(`the trace was recorded of another image; ${describeApplied(report.applied)}`);
    }
    io.result(report, () => [optimizedText(report), `${report.target}@${report.manifest}`].join('\n'));
  },
});
