// `naiad inspect`: what an image is made of.
import { short } from '../../base/bytes.ts';
import { formatSize } from '../../base/units.ts';
import type { Inspection } from '../../look/inspect.ts';
import { defineCommand } from '../command.ts';
import { readRegistryFlags, registryFlags } from '../registry-flags.ts';

export const command = defineCommand({
  usage: 'inspect <image>',
  summary: 'Show what an image is made of, converted or not',
  examples: [
    ['naiad inspect localhost:5000/python:3-naiad', 'config, layers, bootstrap and blobs'],
    ['naiad inspect --json oci:./python', 'the same for scripts'],
    ['naiad inspect --raw manifest python:3', 'the stored bytes of the manifest'],
  ],
  options: (parser) =>
    registryFlags(
      parser
        .positional('image', { type: 'string', demandOption: true, describe: 'Reference, layout or bootstrap file' })
        .option('raw', { choices: ['manifest', 'config'] as const, describe: 'Print that document as it is stored' })
        .option('platform', { type: 'string', describe: 'OS/ARCH[/VARIANT] to take from an index' }),
    ),
  async run(args, io) {
    const { inspectImage, rawDocument } = await import('../../look/inspect.ts');
    const { registry } = readRegistryFlags(args);
    const options = { platform: args.platform, signal: io.signal, registry };
    if (args.raw) await io.raw(await rawDocument(args.image, args.raw, options));
    else io.result(await inspectImage(args.image, options), inspectionText);
  },
});

function inspectionText(image: Inspection): string {
  const command = [...(image.config?.Entrypoint ?? []), ...(image.config?.Cmd ?? [])].join(' ');
  const rows: [string, string | undefined][] = [
    ['image', image.name],
    ['kind', image.kind],
    ['manifest', image.manifest && `${image.manifest.digest} (${image.manifest.mediaType})`],
    ['platform', image.platform],
    ['created', image.created],
    ['command', command || undefined],
    ['user', image.config?.User || undefined],
    ['workdir', image.config?.WorkingDir || undefined],
    ['size', image.layers.length > 0 ? `${formatSize(image.size)} in ${image.layers.length} layers` : undefined],
  ];
  const lines = rows.filter(([, value]) => value !== undefined).map(([name, value]) => `${name.padEnd(10)}${value}`);
  image.layers.forEach((layer, index) => {
    lines.push(
      `layer ${String(index).padEnd(4)}${short(layer.digest)}  ${formatSize(layer.size).padStart(9)}  ${layer.mediaType}`,
    );
  });
  const { bootstrap } = image;
  if (bootstrap) {
    const { size, names, chunkSize, flags, prefetch } = bootstrap;
    const hints = prefetch > 0 ? `, ${prefetch} to prefetch` : '';
    lines.push(`bootstrap ${formatSize(size)}, ${names} names, chunks of ${chunkSize / 1024} KiB${hints}`);
    lines.push(`flags     ${flags.join(' ')}`);
    bootstrap.blobs.forEach((blob, index) => {
      const sizes = `${formatSize(blob.compressedSize)} stored, ${formatSize(blob.uncompressedSize)} uncompressed`;
      lines.push(
        `blob ${String(index).padEnd(5)}${short(blob.blobId)}  ${blob.chunks} chunks, ${sizes}, ${blob.compressor}${blob.hot ? ', hot' : ''}`,
      );
    });
  }
  return lines.join('\n');
}
