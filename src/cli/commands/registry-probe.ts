// `naiad registry probe`: what a registry does, and what that means for naiad.
import type { Finding, RegistryProbe } from '../../registry/probe.ts';
import { defineCommand } from '../command.ts';
import { knownHosts, readRegistryFlags, registryFlags } from '../registry-flags.ts';

export const command = defineCommand({
  usage: 'registry probe <image>',
  summary: 'Find out what a registry does: ranges, referrers, pushes',
  examples: [
    ['naiad registry probe registry.example/app:1', 'only reads'],
    ['naiad registry probe --push registry.example/app:1', 'also pushes a few bytes under no tag, and removes them'],
  ],
  options: (parser) =>
    registryFlags(
      parser
        .positional('image', { type: 'string', demandOption: true, describe: 'An image in the registry' })
        .option('push', { type: 'boolean', describe: 'Try pushing to its repository as well' }),
    ),
  async run(args, io) {
    const { probeReference } = await import('../../transport/probe.ts');
    const registry = { ...readRegistryFlags(args).registry, ...knownHosts() };
    const probe = await probeReference(args.image, { registry, push: args.push, signal: io.signal });
    io.result(probe, probeText);
  },
});

function probeText(probe: RegistryProbe): string {
  const { push, rateLimit } = probe;
  const said = ({ works, detail }: Finding) => (works ? 'yes' : `no${detail ? `: ${detail}` : ''}`);
  const rows: [string, string | undefined][] = [
    ['registry', `${probe.registry} (${probe.endpoints.join(', then ')})`],
    ['authentication', probe.authentication],
    ['manifest', `${probe.manifest.mediaType}${probe.manifest.digestHeader ? '' : ', without its digest in a header'}`],
    ['ranges', `${said(probe.ranges)}${probe.ranges.works ? '' : ' (lazy reading needs them)'}`],
    ['several at once', said(probe.multipleRanges)],
    ['blobs are at', probe.redirectsTo ?? 'the registry itself'],
    ['referrers', probe.referrersApi ? 'listed by the registry' : 'by the fallback tag'],
    ['tags', said(probe.tags)],
    ['rate limit', rateLimit && `${rateLimit.limit ?? '?'}, remaining ${rateLimit.remaining ?? '?'}`],
    ...(push ? pushRows(push, said) : []),
  ];
  return rows.flatMap(([name, value]) => (value === undefined ? [] : [`${name.padEnd(18)}${value}`])).join('\n');
}

function pushRows(
  push: NonNullable<RegistryProbe['push']>,
  said: (finding: Finding) => string,
): [string, string | undefined][] {
  return [
    ['push: one PUT', said(push.put)],
    ['push: stream', said(push.stream)],
    ['push: chunks', `${said(push.chunks)}${push.chunkMin ? `, of at least ${push.chunkMin} bytes` : ''}`],
    ['push: resume', said(push.resume)],
    ['push: mount', said(push.mount)],
    ['converted layers', said(push.convertedLayers)],
    ['index features', said(push.indexWithFeatures)],
    ['subject', said(push.subject)],
    ['deletion', said(push.deletion)],
  ];
}
