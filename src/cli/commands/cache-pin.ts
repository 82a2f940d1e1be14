import { NaiadError } from '../../base/errors.ts';
import { formatSize } from '../../base/units.ts';
import type { ImageRequest } from '../../mount/image-options.ts';
import { defineCommand, type Io } from '../command.ts';
import { readRegistryFlags, registryFlags } from '../registry-flags.ts';

export const command = defineCommand({
  usage: 'cache pin <image>',
  summary: 'Keep what is cached of an image however full the cache gets',
  examples: [
    ['naiad cache pin registry.example/app:1-naiad', 'What is here of it now, and what its reads bring later'],
    ['naiad cache pin --fetch registry.example/app:1-naiad', 'All of it: what is missing is fetched now'],
    ['naiad cache pin 0f63e3059e19d9394a8d17a8e809eda461815c427515aa0590b0de651fa34f12', 'One blob'],
  ],
  options: (parser) =>
    registryFlags(parser)
      .positional('image', { type: 'string', demandOption: true, describe: 'Converted image, or a blob id' })
      .option('cache', { type: 'string', requiresArg: true, describe: 'Cache directory' })
      .option('fetch', { type: 'boolean', default: false, describe: 'Fetch what is missing, behind all who read' })
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
    const { platform } = args;
    const { registry } = readRegistryFlags(args);
    const pin = await pinOf(args.image, { metadataDir: paths.metadata, platform, registry, signal: io.signal });
    if (args.fetch && pin.metadata.length === 0 && pin.blobs[0] === pin.name) {
      throw new NaiadError('USAGE', 'a blob id does not say where the blob is', {
        hint: 'Name the image with --fetch.',
      });
    }
    writePin(paths, pin);
    const fetched = args.fetch ? await fetchAll(args.image, paths.root, { platform, registry }, io) : undefined;
    io.result({ ...pin, ...(fetched && { fetched }) }, () => {
      const blobs = `pinned ${pin.name}: ${pin.blobs.length} blobs`;
      if (!fetched) return `${blobs}; what is missing of them is fetched when it is read, or now with --fetch`;
      return `${blobs}, all ${formatSize(fetched.bytesTotal)} here; ${formatSize(fetched.fetchedBytes)} fetched`;
    });
  },
});

async function fetchAll(image: string, cache: string, how: Pick<ImageRequest, 'platform' | 'registry'>, io: Io) {
  const { askFill } = await import('../../mount/ask-fill.ts');
  const { absoluteImage, absoluteRegistry } = await import('../../mount/mount-request.ts');
  using progress = io.progress(`fetching ${image}`);
  const environment = { ...process.env } as Record<string, string>;
  const registry = absoluteRegistry(how.registry);
  return await askFill(
    { ...how, image: absoluteImage(image), cache, registry, environment },
    {
      signal: io.signal,
      onProgress: ({ bytes, bytesTotal }) => progress.update({ done: bytes, total: bytesTotal }),
    },
  );
}
