// `naiad copy`: an image from one place to another, as it is.
import { formatSize } from '../../base/units.ts';
import { defineCommand } from '../command.ts';
import { knownHosts, readSourceTargetFlags, sourceTargetFlags } from '../registry-flags.ts';

export const command = defineCommand({
  usage: 'copy <source> <target>',
  summary: 'Copy an image, converted or not, from one place to another',
  examples: [
    ['naiad copy python:3 oci:./python:3', 'from Docker Hub into a directory'],
    ['naiad copy --all-platforms registry.example/app:1 mirror.example/app:1', 'an index with all it names'],
    ['naiad copy --referrers registry.example/app:1 mirror.example/app:1', 'with its signatures and SBOMs'],
  ],
  options: (parser) =>
    sourceTargetFlags(
      parser
        .positional('source', {
          type: 'string',
          demandOption: true,
          describe: 'docker://, oci:, oci-archive: or docker-archive:',
        })
        .positional('target', { type: 'string', demandOption: true, describe: 'docker://, oci: or oci-archive:' })
        .option('platform', { type: 'string', describe: 'OS/ARCH[/VARIANT] to take from an index' })
        .option('all-platforms', { type: 'boolean', describe: 'Copy an index as a whole' })
        .option('referrers', { type: 'boolean', describe: 'Copy what refers to the image as well' }),
    ),
  async run(args, io) {
    const { copyReference } = await import('../../transport/copy.ts');
    const { source, target } = readSourceTargetFlags(args);
    const { platform, referrers, 'all-platforms': allPlatforms } = args;
    using progress = io.progress(`copying ${args.source}`);
    const report = await copyReference(
      args.source,
      args.target,
      { platform, allPlatforms, referrers },
      { signal: io.signal, onProgress: (state) => progress.update(state) },
      { source: { registry: { ...source, ...knownHosts() } }, target: { registry: { ...target, ...knownHosts() } } },
    );
    progress[Symbol.dispose]();
    if (report.foreignLayers > 0) io.warn(`${report.foreignLayers} layers may not be distributed, and were left out`);
    io.result(report, ({ blobs, manifests, size, seconds, target, digest }) =>
      [
        `${blobs} blobs, ${formatSize(size)}, and ${manifests} ${manifests === 1 ? 'manifest' : 'manifests'} in ${seconds.toFixed(2)} s`,
        ...(report.referrers > 0 ? [`${report.referrers} referrers`] : []),
        `${target}@${digest}`,
      ].join('\n'),
    );
  },
});
