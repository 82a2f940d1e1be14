import { defineCommand } from '../command.ts';

export const command = defineCommand({
  usage: 'cache verify [blob..]',
  summary: 'Read every cached chunk back and check its digest',
  examples: [
    ['naiad cache verify', 'Exit code 12 when something is wrong'],
    ['naiad cache verify --repair', 'Heal what is wrong, also of blobs that are mounted'],
    ['naiad cache verify --json 0f63…', 'One blob, for programs'],
  ],
  options: (parser) =>
    parser
      .positional('blob', { type: 'string', array: true, describe: 'Blob ids; all when none is given' })
      .option('cache', { type: 'string', requiresArg: true, describe: 'Cache directory' })
      .option('repair', { type: 'boolean', default: false, describe: 'Forget or fetch again what is wrong' }),
  async run(args, io) {
    const { formatSize } = await import('../../base/units.ts');
    const { unhealed, verifyCache, verifyFailure } = await import('../../cache/verify.ts');
    const { prepareCacheDir } = await import('../../cache/cache-dir.ts');
    const { refetchMounted } = await import('../../mount/refetch.ts');
    const { cachePaths, cacheDir } = await import('../../store/paths.ts');
    const paths = cachePaths(cacheDir(args.cache));
    prepareCacheDir(paths);
    using progress = io.progress('verifying the cache');
    const verified = await verifyCache(paths, {
      blobs: args.blob?.length ? new Set(args.blob) : undefined,
      repair: args.repair,
      refetch: (item, chunks) => refetchMounted(paths.root, item, chunks, io.signal),
      signal: io.signal,
      onProgress: (state) => progress.update(state),
    });
    progress[Symbol.dispose]();
    io.result(verified, () => {
      const lines = verified.flatMap((blob) => {
        if (blob.problem !== undefined) return [`${blob.name}: ${blob.problem}; it is started anew when it is used`];
        if (blob.bad.length === 0) return [];
        const left = unhealed(blob);
        const did = [
          blob.forgotten.length > 0 && `${blob.forgotten.length} will be fetched when they are read`,
          blob.refetched.length > 0 && `${blob.refetched.length} were fetched again`,
          left.length > 0 && `${left.length} stay wrong: ${left.slice(0, 10).join(' ')}`,
        ];
        return [`${blob.name}: ${blob.bad.length} wrong chunks, ${did.filter(Boolean).join(', ')}`];
      });
      const chunks = verified.reduce((sum, blob) => sum + blob.chunks, 0);
      const bytes = verified.reduce((sum, blob) => sum + blob.bytes, 0);
      return [...lines, `${chunks} chunks of ${verified.length} blobs read back, ${formatSize(bytes)}`].join('\n');
    });
    const failure = verifyFailure(verified, args.repair);
    if (failure) throw failure;
  },
});
