// `naiad diff`: what one converted image has and another has not.
import { formatSize } from '../../base/units.ts';
import type { ImageDiff, NameDiff } from '../../look/diff.ts';
import { defineCommand } from '../command.ts';
import { readRegistryFlags, registryFlags } from '../registry-flags.ts';

const SIGNS = { first: '-', second: '+', changed: '~' } as const;

export const command = defineCommand({
  usage: 'diff <first> <second>',
  summary: 'Compare two converted images: names, contents, bytes to fetch',
  examples: [
    [
      'naiad diff reg.example/app:1-naiad reg.example/app:2-naiad',
      'Names with - are in the first alone, with + in the second',
    ],
    ['naiad diff --ignore-times oci:./app:1 oci:./app:2', 'without what was only built again'],
  ],
  options: (parser) =>
    registryFlags(
      parser
        .positional('first', { type: 'string', demandOption: true, describe: 'Reference, layout or bootstrap file' })
        .positional('second', { type: 'string', demandOption: true, describe: 'Reference, layout or bootstrap file' })
        .option('ignore-times', {
          type: 'boolean',
          default: false,
          describe: 'Leave out names of which only times differ',
        })
        .option('platform', { type: 'string', describe: 'OS/ARCH[/VARIANT] to take from an index' }),
    ),
  async run(args, io) {
    const { openConvertedImage } = await import('../../transport/image.ts');
    const { diffImages } = await import('../../look/diff.ts');
    const options = { platform: args.platform, signal: io.signal, ...readRegistryFlags(args) };
    await using first = await openConvertedImage(args.first, options);
    await using second = await openConvertedImage(args.second, options);
    const diff = await diffImages(first, second, { ignoreTimes: args['ignore-times'], signal: io.signal });
    io.result(diff, () => [...diff.names.map(nameText), ...summary(diff)].join('\n'));
  },
});

function nameText({ kind, path, differs, size }: NameDiff): string {
  const notes = [...(differs ?? []), ...(size === undefined ? [] : [formatSize(size)])];
  return `${SIGNS[kind]} ${path}${notes.length > 0 ? ` (${notes.join(', ')})` : ''}`;
}

function summary({ names, same, byDigest, stored }: ImageDiff): string[] {
  const count = (kind: NameDiff['kind']) => names.filter((name) => name.kind === kind).length;
  return [
    `${same} names are the same, ${count('changed')} changed, ${count('first')} are in the first alone, ${count('second')} in the second`,
    storedText(stored),
    ...(byDigest
      ? []
      : ['their chunks cannot be compared (another size or digest): contents are told apart by size and time']),
  ];
}

function storedText({ total, inSharedBlobs, sameContent }: ImageDiff['stored']): string {
  const rest = total - inSharedBlobs;
  const known = `of the second's ${formatSize(total)} of chunks, ${formatSize(inSharedBlobs)} are in blobs that the first has too`;
  return rest === 0
    ? known
    : `${known}; of the other ${formatSize(rest)}, ${formatSize(sameContent)} are contents that it has elsewhere`;
}
