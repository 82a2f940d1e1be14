import { defineCommand } from '../command.ts';

export const command = defineCommand({
  usage: 'cache pin <image>',
  summary: 'Keep what is cached of an image however full the cache gets',
  examples: [
    ['naiad cache pin registry.example/app:1-naiad', 'Its blobs and metadata, also those that are not here yet'],
    ['naiad cache pin 0f63e3059e19d9394a8d17a8e809eda461815c427515aa0590b0de651fa34f12', 'One blob'],
  ],
  options: (parser) =>
    parser
      .positional('image', { type: 'string', demandOption: true, describe: 'Converted image, or a blob id' })
      .option('cache', { type: 'string', requiresArg: true, describe: 'Cache directory' })
      .option('platform', {
        type: 'string',
        requiresArg: true,
        describe: 'Of an image for several: OS/ARCH[/VARIANT]',
      }),
  async run(args, io) {
    const { pinOf } = await import('../../look/pin.ts');
    const { prepareCacheDir } = await import('../../cache/cache-dir.ts');
    const { writePin } = await import('../../cache/pins.ts');
    const { cachePaths, cacheDir } = await import('../../store/paths.ts');
    const paths = cachePaths(cacheDir(args.cache));
    prepareCacheDir(paths);
    const pin = await pinOf(args.image, { metadataDir: paths.metadata, platform: args.platform, signal: io.signal });
    writePin(paths, pin);
    io.result(pin, () => `pinned ${pin.name}: ${pin.blobs.length} blobs`);
  },
});
