// `naiad trace push`: a trace beside its image in the registry.
import { formatSize } from '../../base/units.ts';
import { defineCommand } from '../command.ts';
import { readRegistryFlags, registryFlags } from '../registry-flags.ts';

export const command = defineCommand({
  usage: 'trace push <trace> <image>',
  summary: 'Put a trace beside an image, where mounts find it',
  examples: [
    ['naiad trace push app.trace registry.example/app:1-naiad', 'Every mount of the image fetches it first'],
    ['naiad trace push --name worker worker.trace registry.example/app:1-naiad', 'For mounts with --trace-name worker'],
  ],
  options: (parser) =>
    registryFlags(parser)
      .positional('trace', { type: 'string', demandOption: true, describe: 'Trace, or list of paths' })
      .positional('image', { type: 'string', demandOption: true, describe: 'Converted image in a registry' })
      .option('name', { type: 'string', requiresArg: true, default: 'default', describe: 'One for each entry point' })
      .option('platform', { type: 'string', requiresArg: true, describe: 'OS/ARCH[/VARIANT] to take from an index' }),
  async run(args, io) {
    const { readTrace } = await import('../../trace/read-trace.ts');
    const { pushTrace } = await import('../../trace/attached.ts');
    const trace = await readTrace(args.trace, io.signal);
    const options = { platform: args.platform, signal: io.signal, ...readRegistryFlags(args) };
    const pushed = await pushTrace(trace, args.image, { name: args.name, created: createdNow(process.env) }, options);
    if (trace.image !== undefined && trace.image !== pushed.subject) {
      io.warn(`the trace was recorded of ${trace.image}, another image than ${pushed.image}`);
    }
    io.result(pushed, ({ image, name, digest, size }) => `${image}: trace ${name} (${formatSize(size)}) is ${digest}`);
  },
});

/** Reproducible builds give their own time. */
function createdNow(env: NodeJS.ProcessEnv): string {
  const seconds = Number(env.SOURCE_DATE_EPOCH);
  const date = env.SOURCE_DATE_EPOCH && Number.isSafeInteger(seconds) ? new Date(seconds * 1000) : new Date();
  return date.toISOString();
}
