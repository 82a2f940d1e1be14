// `naiad trace pull`: a trace from beside an image, into a file.
import { defineCommand } from '../command.ts';
import { readRegistryFlags, registryFlags } from '../registry-flags.ts';

export const command = defineCommand({
  usage: 'trace pull <image> <file>',
  summary: 'Write a trace from beside an image to a file',
  examples: [
    ['naiad trace pull --name worker registry.example/app:1-naiad worker.trace', 'naiad trace ls has the names'],
  ],
  options: (parser) =>
    registryFlags(parser)
      .positional('image', { type: 'string', demandOption: true, describe: 'Converted image in a registry' })
      .positional('file', { type: 'string', demandOption: true, describe: 'Trace to write; .zst is compressed' })
      .option('name', { type: 'string', requiresArg: true, default: 'auto', describe: 'Which trace; auto: as a mount' })
      .option('platform', { type: 'string', requiresArg: true, describe: 'OS/ARCH[/VARIANT] to take from an index' }),
  async run(args, io) {
    const { pullTrace } = await import('../../trace/attached.ts');
    const { writeTrace } = await import('../../trace/write-trace.ts');
    const { briefOf, briefText } = await import('../../trace/files.ts');
    const options = { platform: args.platform, signal: io.signal, ...readRegistryFlags(args) };
    const { entry, trace } = await pullTrace(args.image, args.name, options);
    writeTrace(args.file, trace);
    const pulled = { file: args.file, name: entry.name, digest: entry.manifest.digest, ...briefOf(trace) };
    io.result(pulled, () => `${pulled.file}: trace ${pulled.name}, ${briefText(pulled)}`);
  },
});
