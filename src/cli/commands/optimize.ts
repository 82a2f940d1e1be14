// `naiad optimize`: an image rearranged so that its start reads one blob from end to end.
import { formatSize } from '../../base/units.ts';
import { defineCommand } from '../command.ts';
import { knownHosts, readRegistryFlags, registryFlags } from '../registry-flags.ts';

export const command = defineCommand({
  usage: 'optimize <image> <target>',
  summary: 'Put what a start reads into one blob, which comes first',
  examples: [
    ['naiad optimize --trace app.trace reg.example/app:1-naiad reg.example/app:1-fast', 'As a trace has recorded it'],
    ['naiad optimize --trace a.trace --trace b.trace oci:./app:naiad oci:./app:fast', 'For several ways to start it'],
  ],
  options: (parser) =>
    registryFlags(
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
        .option('platform', { type: 'string', requiresArg: true, describe: 'OS/ARCH[/VARIANT] to take from an index' }),
    ),
  async run(args, io) {
    const { optimizeReference } = await import('../../convert/optimize-reference.ts');
    const { readTraces } = await import('../../trace/read-trace.ts');
    const trace = await readTraces(args.trace, io.signal);
    const registry = { ...readRegistryFlags(args).registry, ...knownHosts() };
    using progress = io.progress(`optimizing ${args.image}`);
    const hooks = {
      signal: io.signal,
      onProgress: (state: Parameters<typeof progress.update>[0]) => progress.update(state),
    };
    const { platform } = args;
    const report = await optimizeReference(args.image, args.target, trace, { platform, registry }, hooks);
    progress[Symbol.dispose]();
    const { describeApplied } = await import('../../trace/staleness.ts');
    if (!report.same && trace.image !== undefined) {
      io.warn(`the trace was recorded of another image; ${describeApplied(report.applied)}`);
    }
    io.result(report, () =>
      [optimizedText(report, describeApplied(report.applied)), `${report.target}@${report.manifest}`].join('\n'),
    );
  },
});

type Report = Awaited<ReturnType<typeof import('../../convert/optimize-reference.ts').optimizeReference>>;

/** What became of an image; `convert --trace` says it too. */
export function optimizedText(report: Omit<Report, 'source' | 'target'>, applied: string): string {
  const { hot, files, keptBlobs, droppedBlobs, keptSize, reusedSize } = report;
  const again = hot.recompressed > 0 ? `, ${hot.recompressed} of them compressed anew` : '';
  const gone = droppedBlobs > 0 ? `; ${droppedBlobs} have nothing left and are gone` : '';
  const reused = reusedSize > 0 ? `, ${formatSize(reusedSize)} were in the target already` : '';
  return [
    `trace: ${applied}`,
    ...report.applied.missingPaths.map((path) => `  not there any more: ${path}`),
    `hot blob ${hot.blobId.slice(0, 12)}: ${hot.chunks} chunks of ${files} files${again}, ${formatSize(hot.size)}, ${formatSize(hot.uncompressedSize)} uncompressed`,
    `${keptBlobs} other blobs, ${formatSize(keptSize)}${reused}${gone}`,
    `bootstrap ${formatSize(report.bootstrapSize)}, ${formatSize(report.bootstrapStoredSize)} stored; ${report.seconds.toFixed(2)} s`,
  ].join('\n');
}
