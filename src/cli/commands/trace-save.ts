// `naiad trace save`: what a mount has recorded so far, into a file.
import { defineCommand } from '../command.ts';

export const command = defineCommand({
  usage: 'trace save <directory> <file>',
  summary: 'Write what a mount has read so far to a trace file',
  examples: [['naiad trace save /mnt app.trace', 'Every mount records; the mount goes on']],
  options: (parser) =>
    parser
      .positional('directory', { type: 'string', demandOption: true, describe: 'Where an image is mounted' })
      .positional('file', { type: 'string', demandOption: true, describe: 'Trace to write; .zst is compressed' }),
  async run(args, io) {
    const { traceOfDirectory } = await import('../../mount/trace-of-mount.ts');
    const { writeTrace } = await import('../../trace/write-trace.ts');
    const { briefOf, briefText } = await import('../../trace/files.ts');
    const { trace } = await traceOfDirectory(args.directory);
    writeTrace(args.file, trace);
    const saved = { file: args.file, image: trace.image, ...briefOf(trace) };
    io.result(saved, () => `${saved.file}: ${briefText(saved)}`);
  },
});
