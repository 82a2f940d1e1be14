import { NaiadError } from '../../base/errors.ts';
import { defineCommand } from '../command.ts';

export const command = defineCommand({
  usage: 'umount [directory]',
  summary: 'Unmount an image',
  examples: [
    ['naiad umount /mnt', 'Unmount; fails while processes use it'],
    ['naiad umount --lazy /mnt', 'Take it away now, let go when nobody uses it any more'],
    ['naiad umount --all', 'Unmount every image'],
  ],
  options: (parser) =>
    parser
      .positional('directory', { type: 'string', describe: 'Where the image is mounted' })
      .option('all', { type: 'boolean', default: false, describe: 'Unmount every image' })
      .option('lazy', { type: 'boolean', default: false, describe: 'Also while processes use it' }),
  async run({ directory, all, lazy }, io) {
    const { endAllMounts, endMount } = await import('../../mount/mounts.ts');
    if (all === (directory !== undefined)) {
      const hint = 'naiad status lists what is mounted.';
      throw new NaiadError(
        'USAGE',
        all ? 'a directory and --all exclude each other' : 'a directory or --all is needed',
        { hint },
      );
    }
    if (directory === undefined) {
      const results = await endAllMounts({ lazy });
      const failed = results.flatMap(({ error }) => error ?? []);
      for (const error of failed) io.warn(`${error.message}${error.hint ? ` (${error.hint})` : ''}`);
      const unmounted = results.filter(({ error }) => !error).map(({ mount }) => mount.mountpoint);
      io.result({ unmounted }, () => unmounted.map((path) => `unmounted ${path}`).join('\n'));
      if (failed.length > 0 && unmounted.length === 0 && failed.length === 1) throw failed[0];
      if (failed.length > 0) throw new NaiadError('PARTIAL', `${failed.length} of ${results.length} stay mounted`);
      return;
    }
    await endMount(directory, { lazy });
    io.result({ unmounted: [directory] }, () => '');
  },
});
