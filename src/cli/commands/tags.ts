// `naiad tags`: what tags a repository has.
import { defineCommand } from '../command.ts';
import { readRegistryFlags, registryFlags } from '../registry-flags.ts';

export const command = defineCommand({
  usage: 'tags <repository>',
  summary: 'List the tags of a repository',
  examples: [['naiad tags registry.example/app', 'one a line, sorted']],
  options: (parser) =>
    registryFlags(parser.positional('repository', { type: 'string', demandOption: true, describe: 'HOST/REPOSITORY' })),
  async run(args, io) {
    const { tagsOf } = await import('../../transport/tags.ts');
    const result = await tagsOf(args.repository, { ...readRegistryFlags(args), signal: io.signal });
    io.result(result, ({ tags }) => tags.join('\n'));
  },
});
