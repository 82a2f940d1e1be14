// `naiad logout`: what `naiad login` kept is taken out again.
import { defineCommand } from '../command.ts';

export const command = defineCommand({
  usage: 'logout [registry]',
  summary: 'Remove the credentials of a registry',
  examples: [['naiad logout registry.example', 'from where `naiad login` puts them']],
  options: (parser) =>
    parser
      .positional('registry', { type: 'string', default: 'docker.io', describe: 'HOST[:PORT][/PATH]' })
      .option('authfile', { type: 'string', describe: 'File with the credentials' }),
  async run(args, io) {
    const { logOut, parseLoginPlace } = await import('../../registry/login.ts');
    const place = parseLoginPlace(args.registry);
    const result = await logOut(place, { authFile: args.authfile });
    if (result.remaining) io.warn(`${result.remaining} still has credentials for ${args.registry}`);
    io.result(result, ({ removedFrom }) =>
      removedFrom.length > 0
        ? `logged out of ${args.registry}: removed from ${removedFrom.join(' and ')}`
        : `not logged in to ${args.registry}`,
    );
  },
});
