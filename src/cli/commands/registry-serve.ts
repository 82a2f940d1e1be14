// `naiad registry serve`: the embedded registry, until a signal ends it.

import { once } from 'node:events';
import { withoutBrackets } from '../../base/brackets.ts';
import { NaiadError } from '../../base/errors.ts';
import { parseBandwidth, parseDuration } from '../../base/units.ts';
import { defineCommand } from '../command.ts';

export const command = defineCommand({
  usage: 'registry serve',
  summary: 'Serve a directory as a small OCI registry',
  examples: [
    ['naiad registry serve --root ./images', 'on a free port of this machine'],
    [
      'naiad registry serve --root ./images --listen 127.0.0.1:5000 --bandwidth 100mbit --latency 20ms',
      'as over a line',
    ],
  ],
  options: (parser) =>
    parser
      .option('root', { type: 'string', demandOption: true, describe: 'Directory of the images; made when missing' })
      .option('listen', {
        type: 'string',
        default: '127.0.0.1:0',
        describe: 'Address and port; port 0 takes a free one. There is no authentication',
      })
      .option('bandwidth', { type: 'string', describe: 'Limit of all answers together, for example 100mbit' })
      .option('latency', { type: 'string', describe: 'Delay of each answer, for example 20ms' }),
  async run(args, io) {
    const address = parseListen(args.listen);
    const bandwidth = optionValue('--bandwidth', args.bandwidth, parseBandwidth, '100mbit');
    const latencyMs = optionValue('--latency', args.latency, parseDuration, '20ms');
    const { startRegistry } = await import('../../registry-server/start.ts');
    await using server = await startRegistry({ root: args.root, ...address, bandwidth, latencyMs });
    io.result({ url: server.url, host: server.host, root: args.root }, ({ url }) => `serving ${args.root} on ${url}`);
    io.note('Ctrl-C ends it.');
    if (!io.signal.aborted) await once(io.signal, 'abort');
  },
});

function parseListen(text: string): { readonly host: string; readonly port: number } {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:\s[\]]+):(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (!match?.[1] || port > 65535) {
    throw new NaiadError('USAGE', `--listen ${JSON.stringify(text)} is not ADDRESS:PORT`, {
      hint: 'For example: --listen 127.0.0.1:5000',
    });
  }
  return { host: withoutBrackets(match[1]), port };
}

function optionValue(
  name: string,
  text: string | undefined,
  parse: (text: string) => number | undefined,
  example: string,
): number | undefined {
  if (text === undefined) return undefined;
  const value = parse(text);
  if (value !== undefined) return value;
  throw new NaiadError('USAGE', `${name} ${JSON.stringify(text)} is not understood`, {
    hint: `For example: ${name} ${example}`,
  });
}
