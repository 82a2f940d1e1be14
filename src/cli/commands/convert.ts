// `naiad convert`: an image becomes one that starts before it is downloaded.
import { readFile } from 'node:fs/promises';
import type { Argv } from 'yargs';
import { systemError } from '../../base/system-error.ts';
import { formatSize, MiB } from '../../base/units.ts';
import {
  BUILD_DEFAULTS,
  type BuildOptions,
  COMPRESSORS_WRITTEN,
  DIGESTERS_WRITTEN,
} from '../../convert/build-options.ts';
import type { ConvertReport } from '../../convert/convert.ts';
import type { convertReference } from '../../convert/convert-reference.ts';
import { defineCommand, type Io } from '../command.ts';
import { optimizedText } from '../optimized-text.ts';
import { knownHosts, readSourceTargetFlags, sourceTargetFlags } from '../registry-flags.ts';
import { table } from '../table.ts';

/** Options that decide how an image is built; `bench convert` has them too. */
export function buildFlags<T>(parser: Argv<T>) {
  return parser
    .option('compressor', {
      choices: COMPRESSORS_WRITTEN,
      default: BUILD_DEFAULTS.compressor,
      describe: 'Of chunks',
    })
    .option('level', { type: 'number', describe: 'Of zstd, 1 to 22  [default: 3]' })
    .option('chunk-size', {
      type: 'string',
      default: `${BUILD_DEFAULTS.chunkSize / MiB}MiB`,
      describe: 'Unit of fetching and deduplication: a power of two, 4KiB to 16MiB',
    })
    .option('digester', { choices: DIGESTERS_WRITTEN, default: BUILD_DEFAULTS.digester, describe: 'Of chunks' })
    .option('jobs', {
      type: 'number',
      default: BUILD_DEFAULTS.jobs,
      describe: 'Layers converted at once; the result is the same',
    })
    .option('prefetch', {
      type: 'string',
      array: true,
      nargs: 1,
      describe: 'Path in the image to fetch first; repeatable',
    })
    .option('prefetch-list', { type: 'string', describe: 'File with such paths, one a line' })
    .option('platform', { type: 'string', describe: 'OS/ARCH[/VARIANT] to take from an index' });
}

interface BuildFlags {
  readonly compressor: BuildOptions['compressor'];
  readonly level: number | undefined;
  readonly 'chunk-size': string;
  readonly digester: BuildOptions['digester'];
  readonly jobs: number;
  readonly prefetch: string[] | undefined;
  readonly 'prefetch-list': string | undefined;
  readonly platform: string | undefined;
}

export async function readBuildFlags(flags: BuildFlags) {
  const { checkBuildOptions, parseChunkSize } = await import('../../convert/options.ts');
  const { splitPath } = await import('../../tar/path.ts');
  const { utf8ToByteString } = await import('../../base/bytes.ts');
  const paths = [...(flags.prefetch ?? []), ...(await readList(flags['prefetch-list']))];
  const { compressor, level, digester, jobs, platform } = flags;
  const options = {
    compressor,
    level,
    chunkSize: parseChunkSize(flags['chunk-size']),
    digester,
    jobs,
    platform,
    prefetch: paths.map((path) => splitPath(utf8ToByteString(path))),
  };
  checkBuildOptions(options);
  return options;
}

async function readList(file: string | undefined): Promise<string[]> {
  if (file === undefined) return [];
  try {
    const lines = (await readFile(file, 'utf8')).split(/\r?\n/);
    return lines.filter((line) => line !== '');
  } catch (error) {
    throw systemError(error, `reading ${file}`);
  }
}

export const command = defineCommand({
  usage: 'convert <source> <target>',
  summary: 'Convert an image so that it can start before it is downloaded',
  examples: [
    ['naiad convert python:3 localhost:5000/python:3-naiad', 'from Docker Hub into a registry of one’s own'],
    ['naiad convert oci:./app oci:./app:naiad', 'inside an OCI layout'],
    [
      'naiad convert --build-cache reg.example/app:cache app:2 reg.example/app:2',
      'layers that the last version had are not converted again',
    ],
    ['naiad convert --all-platforms --with-original app:2 app:2', 'one tag for nodes with and without naiad'],
    [
      'naiad convert --trace app.trace app:2 reg.example/app:2-fast',
      'what a start of the last version read comes first',
    ],
    ['naiad convert dir:/srv/root registry.example/root:1', 'a directory tree as an image of one layer'],
  ],
  options: (parser) =>
    sourceTargetFlags(
      buildFlags(
        parser
          .positional('source', {
            type: 'string',
            demandOption: true,
            describe: 'docker://, oci:, oci-archive:, docker-archive: or dir:',
          })
          .positional('target', { type: 'string', demandOption: true, describe: 'docker://, oci: or oci-archive:' })
          .option('trace', {
            type: 'string',
            array: true,
            nargs: 1,
            describe: 'Trace, or list of paths, to optimize it for at once; several are merged',
          })
          .option('all-platforms', { type: 'boolean', describe: 'Every image for Linux of an index, into an index' })
          .option('with-original', {
            type: 'boolean',
            describe: 'Into an index that names the original as well, for nodes without naiad',
          })
          .option('build-cache', {
            type: 'string',
            requiresArg: true,
            describe: 'Layers converted before are looked for there, and kept: a reference or oci:DIR:TAG',
          })
          .option('force', { type: 'boolean', describe: 'Also what the target has of the same source and options' })
          .conflicts('all-platforms', 'platform'),
      ),
    ),
  async run(args, io) {
    const build = await readBuildFlags(args);
    const { tuneEngine } = await import('../../convert/engine.ts');
    tuneEngine();
    const { convertIndexReference, convertReference, upToDate } = await import('../../convert/convert-reference.ts');
    const { readTraces } = await import('../../trace/read-trace.ts');
    const trace = args.trace && (await readTraces(args.trace, io.signal));
    const { source, target } = readSourceTargetFlags(args);
    const options = {
      ...build,
      trace,
      allPlatforms: args['all-platforms'],
      withOriginal: args['with-original'],
      buildCache: args['build-cache'],
      registry: { ...source, ...knownHosts() },
      targetRegistry: { ...target, ...knownHosts() },
    };
    const [from, to] = [args.source, args.target];
    const found = args.force ? undefined : await upToDate(from, to, options, io.signal);
    if (found) {
      const value = { ...found, upToDate: true };
      io.result(
        value,
        ({ target, manifest }) => `nothing to do: made of this source before (--force: again)\n${target}@${manifest}`,
      );
    } else if (options.allPlatforms || options.withOriginal) {
      const report = await withProgress(io, from, (hooks) => convertIndexReference(from, to, options, hooks));
      for (const image of report.images) warnOfSkipped(image, io);
      if (report.leftOut.length > 0) io.note(`not converted: ${report.leftOut.join(', ')}`);
      const texts = report.images.flatMap((image) => [image.platform, ...convertText(image), '']);
      const value = { ...report, images: report.images.map(resultOf), upToDate: false };
      io.result(value, ({ target, manifest }) => [...texts, `${target}@${manifest}`].join('\n'));
    } else {
      const report = await withProgress(io, from, (hooks) => convertReference(from, to, options, hooks));
      warnOfSkipped(report, io);
      const more = report.optimized ? [optimizedText(report.optimized)] : [];
      io.result({ ...resultOf(report), upToDate: false }, ({ target, manifest }) =>
        [...convertText(report), ...more, `${target}@${manifest}`].join('\n'),
      );
    }
  },
});

type Hooks = Parameters<typeof convertReference>[3];

async function withProgress<T>(io: Io, source: string, work: (hooks: Hooks) => Promise<T>): Promise<T> {
  using progress = io.progress(`converting ${source}`);
  return await work({
    signal: io.signal,
    onProgress: (state) => progress.update(state),
    onTrouble: (message) => io.warn(message),
  });
}

function warnOfSkipped({ skipped }: ConvertReport, io: Io): void {
  for (const { what, count } of skipped) io.warn(`left out, ${count} times: ${what}`);
}

function resultOf<R extends ConvertReport>({ meter, ...result }: R) {
  const { tarSize, seconds } = result;
  return { ...result, megabytesPerSecond: tarSize / 1e6 / seconds, milliseconds: meter.ms };
}

function convertText(report: ConvertReport): string[] {
  const rows = report.layers.map((layer, index) => [
    String(index + 1),
    String(layer.files),
    formatSize(layer.tarSize),
    formatSize(layer.storedSize),
    layer.blobId ? formatSize(layer.blobSize) : '-',
    String(layer.chunks),
    String(layer.chunksStored),
    layer.blobId?.slice(0, 12) ?? '-',
  ]);
  rows.push([
    'all',
    String(report.files),
    formatSize(report.tarSize),
    formatSize(report.storedSize),
    formatSize(report.targetSize - report.bootstrapStoredSize),
    String(report.layers.reduce((sum, { chunks }) => sum + chunks, 0)),
    String(report.layers.reduce((sum, { chunksStored }) => sum + chunksStored, 0)),
    '',
  ]);
  const cached = report.layers.filter((layer) => layer.cached).length;
  const rate = formatSize(report.tarSize / report.seconds);
  return [
    ...table(['layer', 'files', 'tar', 'stored', 'blob', 'chunks', 'kept', 'blob id'], rows),
    '',
    `bootstrap ${formatSize(report.bootstrapSize)}, ${formatSize(report.bootstrapStoredSize)} stored, ${report.inodes} inodes`,
    ...(cached > 0 ? [`${cached} of ${report.layers.length} layers were converted before`] : []),
    ...(report.reusedSize > 0 ? [`${formatSize(report.reusedSize)} were in the target already`] : []),
    `${report.seconds.toFixed(2)} s${cached > 0 ? '' : `, ${rate} of tar a second`}`,
  ];
}
