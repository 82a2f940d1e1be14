// `naiad unpack`: a converted image as a directory tree, or as an ordinary image.
import { NaiadError } from '../../base/errors.ts';
import { formatSize } from '../../base/units.ts';
import type { UnpackReport } from '../../look/unpack.ts';
import type { ConvertedImage } from '../../transport/image.ts';
import { defineCommand, type Io } from '../command.ts';
import { readRegistryFlags, registryFlags } from '../registry-flags.ts';

export const command = defineCommand({
  usage: 'unpack <image> <target>',
  summary: 'Write a converted image to a directory, or an ordinary image',
  examples: [
    ['naiad unpack localhost:5000/python:3-naiad ./root', 'as root: with owners, devices and all xattrs'],
    ['naiad unpack oci:./python ./root', 'as a user: as far as a user may, with exit code 3'],
    ['naiad unpack reg.example/app:1-naiad docker://reg.example/app:1-plain', 'an image of one layer, for any runtime'],
  ],
  options: (parser) =>
    registryFlags(
      parser
        .positional('image', { type: 'string', demandOption: true, describe: 'Reference or layout' })
        .positional('target', {
          type: 'string',
          demandOption: true,
          describe: 'Directory, empty or made; or docker://, oci: or oci-archive:',
        })
        .option('platform', { type: 'string', describe: 'OS/ARCH[/VARIANT] to take from an index' }),
    ),
  async run(args, io) {
    const { openConvertedImage } = await import('../../transport/image.ts');
    await using image = await openConvertedImage(args.image, {
      platform: args.platform,
      signal: io.signal,
      ...readRegistryFlags(args),
    });
    using progress = io.progress(`unpacking ${image.name}`);
    const isPlace = /^(?:docker|oci|oci-archive|docker-archive|dir):/.test(args.target);
    const skipped = await (isPlace ? toPlace : toDirectory)(image, args.target, { args, io, progress });
    if (skipped === undefined) return;
    throw new NaiadError('PARTIAL', skipped.message, { hint: skipped.hint });
  },
});

interface Unpacking {
  readonly args: Parameters<typeof readRegistryFlags>[0];
  readonly io: Io;
  readonly progress: ReturnType<Io['progress']>;
}

async function toDirectory(image: ConvertedImage, directory: string, { io, progress }: Unpacking) {
  const { unpackImage } = await import('../../look/unpack.ts');
  const report = await unpackImage({
    bootstrap: image.bootstrap,
    readerOf: (blobId) => image.blobReader(blobId),
    directory,
    signal: io.signal,
    onProgress: (state) => progress.update(state),
  });
  progress[Symbol.dispose]();
  io.result(report, ({ names, bytes }) => `${directory}: ${names} names, ${formatSize(bytes)} of data`);
  if (report.skipped.length === 0) return undefined;
  return {
    message: `not set, because only root may: ${skippedText(report)}`,
    hint: 'Run it as root for a complete tree.',
  };
}

async function toPlace(image: ConvertedImage, place: string, { args, io, progress }: Unpacking) {
  const { openTarget } = await import('../../transport/open.ts');
  const { writeOrdinaryImage } = await import('../../look/ordinary-image.ts');
  await using target = await openTarget(place, { signal: io.signal, ...readRegistryFlags(args) });
  const { name } = target;
  const hooks = {
    signal: io.signal,
    onProgress: (state: Parameters<typeof progress.update>[0]) => progress.update(state),
  };
  const report = { target: name, ...(await writeOrdinaryImage(image, target, hooks)) };
  progress[Symbol.dispose]();
  io.result(report, ({ names, layerSize, manifest }) =>
    [`${names} names in a layer of ${formatSize(layerSize)}`, `${name}@${manifest}`].join('\n'),
  );
  if (report.skipped.length === 0) return undefined;
  return {
    message: `left out, because no layer can hold it: ${skippedText(report)}`,
    hint: 'Unpack to a directory to have them.',
  };
}

function skippedText({ skipped }: Pick<UnpackReport, 'skipped'>): string {
  return skipped.map(({ what, count, example }) => `${what}: ${count}, first ${example}`).join('; ');
}
