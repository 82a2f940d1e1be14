// `naiad unpack`: a converted image as a directory tree.
import { NaiadError } from '../../base/errors.ts';
import { formatSize } from '../../base/units.ts';
import { defineCommand } from '../command.ts';
import { readRegistryFlags, registryFlags } from '../registry-flags.ts';

export const command = defineCommand({
  usage: 'unpack <image> <directory>',
  summary: 'Write a converted image out to a directory',
  examples: [
    ['naiad unpack localhost:5000/python:3-naiad ./root', 'as root: with owners, devices and all xattrs'],
    ['naiad unpack oci:./python ./root', 'as a user: as far as a user may, with exit code 3'],
  ],
  options: (parser) =>
    registryFlags(
      parser
        .positional('image', { type: 'string', demandOption: true, describe: 'Reference or layout' })
        .positional('directory', { type: 'string', demandOption: true, describe: 'Empty, or made' })
        .option('platform', { type: 'string', describe: 'OS/ARCH[/VARIANT] to take from an index' }),
    ),
  async run(args, io) {
    const { openConvertedImage } = await import('../../transport/image.ts');
    const { unpackImage } = await import('../../look/unpack.ts');
    await using image = await openConvertedImage(args.image, {
      platform: args.platform,
      signal: io.signal,
      ...readRegistryFlags(args),
    });
    using progress = io.progress(`unpacking ${image.name}`);
    const report = await unpackImage({
      bootstrap: image.bootstrap,
      readerOf: (blobId) => image.blobReader(blobId),
      directory: args.directory,
      signal: io.signal,
      onProgress: (state) => progress.update(state),
    });
    progress[Symbol.dispose]();
    io.result(report, ({ names, bytes }) => `${args.directory}: ${names} names, ${formatSize(bytes)} of data`);
    if (report.skipped.length > 0) {
      const skipped = report.skipped
        .map(({ what, count, example }) => `${what}: ${count}, first ${example}`)
        .join('; ');
      throw new NaiadError('PARTIAL', `not set, because only root may: ${skipped}`, {
        hint: 'Run it as root for a complete tree.',
      });
    }
  },
});
