// `naiad trace ls`: the traces beside an image.
import { formatSize } from '../../base/units.ts';
import { defineCommand } from '../command.ts';
import { readRegistryFlags, registryFlags } from '../registry-flags.ts';
import { table } from '../table.ts';

export const command = defineCommand({
  usage: 'trace ls <image>',
  summary: 'List the traces beside an image in its registry',
  examples: [['naiad trace ls registry.example/app:1-naiad', 'Names for --trace-name']],
  options: (parser) =>
    registryFlags(parser)
      .positional('image', { type: 'string', demandOption: true, describe: 'Converted image in a registry' })
      .option('platform', { type: 'string', requiresArg: true, describe: 'OS/ARCH[/VARIANT] to take from an index' }),
  async run(args, io) {
    const { listTraces } = await import('../../trace/attached.ts');
    const options = { platform: args.platform, signal: io.signal, ...readRegistryFlags(args) };
    const traces = (await listTraces(args.image, options)).map(({ name, created, manifest, layer }) => {
      return { name, created, digest: manifest.digest, size: layer?.size };
    });
    io.result(traces, () => {
      const rows = traces.map(({ name, created, digest, size }) => {
        return [name, created, size === undefined ? '' : formatSize(size), digest];
      });
      return rows.length === 0 ? 'no traces' : table(['name', 'pushed', 'size', 'manifest'], rows).join('\n');
    });
  },
});
