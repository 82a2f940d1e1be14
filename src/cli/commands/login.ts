// `naiad login`: credentials for a registry, where docker, podman and skopeo find them too.
import { NaiadError } from '../../base/errors.ts';
import { defineCommand } from '../command.ts';
import { ask, readSecretFromStdin } from '../prompt.ts';
import { readRegistryFlags, registryFlags } from '../registry-flags.ts';

export const command = defineCommand({
  usage: 'login [registry]',
  summary: 'Log in to a registry, for naiad, docker, podman and skopeo',
  examples: [
    ['naiad login registry.example', 'asks for user name and password on the terminal'],
    ['naiad login -u ci --password-stdin registry.example < token', 'for scripts'],
    ['naiad login registry.example/team', 'for repositories below that path only'],
  ],
  options: (parser) =>
    registryFlags(
      parser
        .positional('registry', { type: 'string', default: 'docker.io', describe: 'HOST[:PORT][/PATH]' })
        .option('username', { type: 'string', alias: 'u', describe: 'Asked for when left out' })
        .option('password-stdin', { type: 'boolean', describe: 'Read the password from stdin' }),
    ),
  async run(args, io) {
    const { logIn, parseLoginPlace } = await import('../../registry/login.ts');
    const place = parseLoginPlace(args.registry);
    const { signal } = io;
    const piped = args['password-stdin'] === true;
    if (piped && !args.username) {
      throw new NaiadError('USAGE', '--password-stdin needs --username', { hint: 'Add --username NAME.' });
    }
    const without = 'Give --username NAME and --password-stdin, and the password on stdin.';
    const user = args.username ?? (await ask('Username: ', { secret: false, signal, without }));
    const password = piped ? await readSecretFromStdin() : await ask('Password: ', { secret: true, signal, without });
    if (user === '' || password === '') {
      throw new NaiadError('USAGE', `the ${user === '' ? 'user name' : 'password'} is empty`);
    }
    const { registry, authFile } = readRegistryFlags(args);
    const result = await logIn(place, { user, password }, { registry, authFile, signal });
    if (!result.verified) io.warn(`${place.host} lets in whoever comes; the password may not have been checked`);
    io.result(result, ({ storedIn }) => `logged in to ${place.host} as ${user}, kept in ${storedIn}`);
  },
});
