// `naiad ls`: names of a converted image.
import { defineCommand } from '../command.ts';
import { readRegistryFlags, registryFlags } from '../registry-flags.ts';

export const command = defineCommand({
  usage: 'ls <image> [path]',
  summary: 'List files of a converted image',
  examples: [
    ['naiad ls localhost:5000/python:3-naiad', 'the root directory'],
    ['naiad ls -l oci:./python usr/bin', 'a directory, with modes, owners, sizes and times'],
    ['naiad ls -R ./image.boot etc', 'everything below a directory of a bootstrap file'],
  ],
  options: (parser) =>
    registryFlags(
      parser
        .positional('image', { type: 'string', demandOption: true, describe: 'Reference, layout or bootstrap file' })
        .positional('path', { type: 'string', default: '/', describe: 'Path inside the image' })
        .option('long', { alias: 'l', type: 'boolean', default: false, describe: 'Mode, links, owner, size and time' })
        .option('recursive', { alias: 'R', type: 'boolean', default: false, describe: 'Everything below' })
        .option('platform', { type: 'string', describe: 'OS/ARCH[/VARIANT] to take from an index' }),
    ),
  async run(args, io) {
    const { openConvertedImage } = await import('../../transport/image.ts');
    const { list } = await import('../../look/list.ts');
    const { parsePath } = await import('../../image/image-path.ts');
    await using image = await openConvertedImage(args.image, {
      platform: args.platform,
      signal: io.signal,
      ...readRegistryFlags(args),
    });
    const names = [...list(image.bootstrap, parsePath(args.path), { recursive: args.recursive })];
    io.result(names, () => (args.long ? longText(names) : names.map(shown(args.recursive)).join('\n')));
  },
});

type Listed = ReturnType<typeof import('../../look/list.ts').list> extends Iterable<infer T> ? T : never;

const shown = (recursive: boolean) => (entry: Listed) => (recursive ? entry.path : entry.name);

function longText(names: readonly Listed[]): string {
  const columns = names.map((entry) => [
    entry.mode,
    String(entry.nlink),
    String(entry.uid),
    String(entry.gid),
    entry.device ?? String(entry.size),
  ]);
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(0, ...columns.map((row) => row[column]?.length ?? 0)));
  return names
    .map((entry, index) => {
      const row = columns[index] ?? [];
      const head = row.map((text, column) => (column === 0 ? text : text.padStart(widths[column] ?? 0))).join(' ');
      const target = entry.target === undefined ? '' : ` -> ${entry.target}`;
      return `${head} ${entry.mtime.slice(0, 19).replace('T', ' ')} ${entry.path}${target}`;
    })
    .join('\n');
}
