// `naiad check`: everything that is wrong with a converted image, at once.
import { NaiadError } from '../../base/errors.ts';
import { defineCommand } from '../command.ts';
import { readRegistryFlags, registryFlags } from '../registry-flags.ts';

export const command = defineCommand({
  usage: 'check <image>',
  summary: 'Check every invariant of a converted image',
  examples: [
    ['naiad check localhost:5000/python:3-naiad', 'the bootstrap and the tables of all blobs'],
    ['naiad check --data localhost:5000/python:3-naiad', 'and every chunk: fetches the whole image'],
    ['naiad check ./image.boot', 'a bootstrap alone'],
  ],
  options: (parser) =>
    registryFlags(
      parser
        .positional('image', { type: 'string', demandOption: true, describe: 'Reference, layout or bootstrap file' })
        .option('data', { type: 'boolean', default: false, describe: 'Fetch and verify every chunk of every blob' })
        .option('platform', { type: 'string', describe: 'OS/ARCH[/VARIANT] to take from an index' }),
    ),
  async run(args, io) {
    const { openConvertedImage } = await import('../../transport/image.ts');
    const { checkImage } = await import('../../look/check.ts');
    await using image = await openConvertedImage(args.image, {
      ...readRegistryFlags(args),
      platform: args.platform,
      signal: io.signal,
      // What is wrong with it is the result here, not a reason to stop.
      lenient: true,
    });
    using progress = io.progress('verifying chunks', 'items');
    const report = await checkImage({
      bootstrapBytes: image.bootstrapBytes,
      ...(image.hasBlobs && { blobs: { readerOf: (id) => image.blobReader(id), sizeOf: (id) => image.blobSize(id) } }),
      data: args.data,
      signal: io.signal,
      onProgress: (state) => progress.update(state),
    });
    progress[Symbol.dispose]();
    io.result(report, (value) => checkText(image.name, value, args.data));
    const errors = report.findings.filter(({ severity }) => severity === 'error').length;
    if (errors > 0) {
      throw new NaiadError('CHECK_FAILED', `${image.name}: ${errors} of its invariants are broken`, {
        hint: 'Convert the image again; when its source is fine and this comes back, report it.',
      });
    }
  },
});

type Report = Awaited<ReturnType<typeof import('../../look/check.ts').checkImage>>;

function checkText(name: string, report: Report, data: boolean): string {
  const { findings, names, files, chunks, blobs, verifiedChunks } = report;
  const lines = findings.map(({ severity, code, message }) => `${severity}[${code}] ${message}`);
  const looked = `${names} names, ${files} files, ${chunks} chunks, tables of ${blobs} blobs`;
  const verified = data ? `, bytes of ${verifiedChunks} chunks` : '';
  const errors = findings.filter(({ severity }) => severity === 'error').length;
  lines.push(`${name}: ${errors === 0 ? 'ok' : `${errors} errors`} (${looked}${verified})`);
  return lines.join('\n');
}
