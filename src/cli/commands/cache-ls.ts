import { formatSize } from '../../base/units.ts';
import type { CacheListing } from '../../look/cache-listing.ts';
import { defineCommand } from '../command.ts';
import { table } from '../table.ts';

export const command = defineCommand({
  usage: 'cache ls',
  summary: 'List what the cache holds, least recently used first',
  examples: [
    ['naiad cache ls', 'Blobs and metadata: size, how much of a blob is there, last use, pins'],
    ['naiad cache ls --json', 'The same for programs'],
  ],
  options: (parser) => parser.option('cache', { type: 'string', requiresArg: true, describe: 'Cache directory' }),
  async run(args, io) {
    const { listCache } = await import('../../look/cache-listing.ts');
    const { cachePaths, cacheDir } = await import('../../store/paths.ts');
    io.result(await listCache(cachePaths(cacheDir(args.cache))), renderListing);
  },
});

function renderListing({ directory, items, bytes, freeBytes, sizeMax, pins }: CacheListing): string {
  const rows = items.map((item) => [
    item.kind,
    formatSize(item.bytes),
    item.chunks ? `${item.chunks.ready}/${item.chunks.total}` : '-',
    item.lastUse.toISOString().slice(0, 16),
    [item.inUse && 'in use', item.pinned && 'pinned', item.problem].filter(Boolean).join(', ') || '-',
    item.kind === 'blob' ? item.name : `sha256:${item.name}`,
  ]);
  return [
    ...(rows.length > 0 ? table(['kind', 'on disk', 'chunks', 'last use', 'state', 'name'], rows) : []),
    `${directory}: ${formatSize(bytes)}, limit ${formatSize(sizeMax)}, ${formatSize(freeBytes)} free on its file system`,
    ...pins.map((pin) => `pinned: ${pin.name} (${pin.blobs.length} blobs)`),
  ].join('\n');
}
