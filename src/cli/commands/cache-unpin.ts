import { NaiadError } from '../../base/errors.ts';
import { defineCommand } from '../command.ts';

export const command = defineCommand({
  usage: 'cache unpin <image>',
  summary: 'Let what is cached of an image go again when room is needed',
  examples: [['naiad cache unpin registry.example/app:1-naiad', 'As it was pinned; naiad cache ls lists the pins']],
  options: (parser) =>
    parser
      .positional('image', { type: 'string', demandOption: true, describe: 'As it was pinned' })
      .option('cache', { type: 'string', requiresArg: true, describe: 'Cache directory' }),
  async run(args, io) {
    const { pinName } = await import('../../look/pin.ts');
    const { removePin } = await import('../../cache/pins.ts');
    const { cachePaths, cacheDir } = await import('../../store/paths.ts');
    const name = pinName(args.image);
    if (!removePin(cachePaths(cacheDir(args.cache)), name)) {
      throw new NaiadError('IMAGE_NOT_FOUND', `${name} is not pinned`, { hint: 'naiad cache ls lists the pins.' });
    }
    io.result({ unpinned: name }, () => `unpinned ${name}`);
  },
});
