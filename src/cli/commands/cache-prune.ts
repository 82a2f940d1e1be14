import { NaiadError } from '../../base/errors.ts';
import { formatSize } from '../../base/units.ts';
import { parseSizeMax } from '../../cache/size-max.ts';
import { defineCommand } from '../command.ts';

export const command = defineCommand({
  usage: 'cache prune',
  summary: 'Remove what was used longest ago, never what is in use',
  examples: [
    ['naiad cache prune', 'Back within the limit of the cache, and the free space it leaves'],
    ['naiad cache prune --size 10GiB', 'Down to 10 GiB'],
    ['naiad cache prune --unused-days 30', 'What nobody has used for 30 days'],
    ['naiad cache prune --all --dry-run', 'Show what could go'],
  ],
  options: (parser) =>
    parser
      .option('cache', { type: 'string', requiresArg: true, describe: 'Cache directory' })
      .option('size', { type: 'string', requiresArg: true, describe: 'Bring the cache down to this size: 10GiB' })
      .option('unused-days', { type: 'number', requiresArg: true, describe: 'Remove what was not used for so long' })
      .option('all', { type: 'boolean', default: false, describe: 'Remove all that may go' })
      .option('dry-run', { type: 'boolean', default: false, describe: 'Only tell what would go' }),
  async run(args, io) {
    const days = args['unused-days'];
    if (days !== undefined && !(days >= 0)) throw new NaiadError('USAGE', '--unused-days takes a number of days');
    const { evict, spaceLimits } = await import('../../cache/evict.ts');
    const { prepareCacheDir } = await import('../../cache/cache-dir.ts');
    const { sizeMaxFromEnvironment } = await import('../../cache/size-max.ts');
    const { cachePaths, cacheDir } = await import('../../store/paths.ts');
    const paths = cachePaths(cacheDir(args.cache));
    prepareCacheDir(paths);
    const limits = await spaceLimits(paths, sizeMaxFromEnvironment());
    const named = args.all || args.size !== undefined || days !== undefined;
    const report = await evict(paths, {
      dryRun: args['dry-run'],
      ...(named ? {} : { sizeMax: limits.sizeMax, freeMin: limits.freeLow }),
      ...(args.size !== undefined && { sizeMax: parseSizeMax(args.size) }),
      ...(args.all && { sizeMax: 0 }),
      ...(days !== undefined && { unusedSince: new Date(Date.now() - days * DAY_MS) }),
    });
    const { removed, freedBytes, inUse, bytes } = report;
    const names = (items: typeof removed) => items.map(({ kind, name, bytes: size }) => ({ kind, name, bytes: size }));
    const result = { dryRun: args['dry-run'], removed: names(removed), freedBytes, inUse: names(inUse), bytes };
    io.result(result, () => {
      const verb = args['dry-run'] ? 'would remove' : 'removed';
      const stays = inUse.length > 0 ? `; ${inUse.length} are in use and stay` : '';
      return `${verb} ${removed.length} items, ${formatSize(freedBytes)}${stays}; the cache holds ${formatSize(bytes)}`;
    });
  },
});

const DAY_MS = 24 * 3600 * 1000;
