// `naiad cat`: a file out of a converted image; only its chunks are fetched.
import { defineCommand } from '../command.ts';
import { readRegistryFlags, registryFlags } from '../registry-flags.ts';

export const command = defineCommand({
  usage: 'cat <image> <path>',
  summary: 'Print a file of a converted image',
  examples: [
    ['naiad cat localhost:5000/python:3-naiad etc/os-release', 'fetches only what the file needs'],
    ['naiad cat oci:./python usr/bin/python3 > python3', 'symlinks are followed inside the image'],
  ],
  options: (parser) =>
    registryFlags(
      parser
        .positional('image', { type: 'string', demandOption: true, describe: 'Reference or layout' })
        .positional('path', { type: 'string', demandOption: true, describe: 'Path of a regular file' })
        .option('platform', { type: 'string', describe: 'OS/ARCH[/VARIANT] to take from an index' }),
    ),
  async run(args, io) {
    const { openConvertedImage } = await import('../../transport/image.ts');
    const { catFile } = await import('../../look/cat.ts');
    const { parsePath } = await import('../../image/image-path.ts');
    await using image = await openConvertedImage(args.image, {
      platform: args.platform,
      signal: io.signal,
      ...readRegistryFlags(args),
    });
    const readerOf = (blobId: string) => image.blobReader(blobId);
    for await (const bytes of catFile(image.bootstrap, readerOf, parsePath(args.path), io.signal)) await io.raw(bytes);
  },
});
