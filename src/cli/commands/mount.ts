import { NaiadError } from '../../base/errors.ts';
import { DRIVER_NAMES } from '../../mount/driver.ts';
import type { MountStatus } from '../../mount/mount-api.ts';
import { cacheFlags, readCacheFlags } from '../cache-flags.ts';
import { defineCommand } from '../command.ts';
import { readRegistryFlags, registryFlags } from '../registry-flags.ts';

export const command = defineCommand({
  usage: 'mount <image> <directory>',
  summary: 'Mount a converted image; files are fetched when they are read',
  examples: [
    ['naiad mount registry.example/app:1-naiad /mnt', 'Mount read-only; returns when it can be used'],
    ['naiad mount --rw oci:layout:app /mnt', 'Writable; what is written ends with the mount'],
    ['naiad mount --rw --upper /srv/app oci:layout:app /mnt', 'Keep what is written in /srv/app'],
  ],
  options: (parser) =>
    registryFlags(cacheFlags(parser))
      .positional('image', { type: 'string', demandOption: true, describe: 'Converted image' })
      .positional('directory', { type: 'string', demandOption: true, describe: 'Empty directory to mount on' })
      .option('rw', { type: 'boolean', default: false, describe: 'Make it writable, by an overlay (root only)' })
      .option('upper', { type: 'string', requiresArg: true, describe: 'With --rw: keep what is written below DIR' })
      .option('driver', {
        choices: ['auto', ...DRIVER_NAMES] as const,
        default: 'auto' as const,
        describe: 'How to mount',
      })
      .option('platform', { type: 'string', requiresArg: true, describe: 'Of an image for several: OS/ARCH[/VARIANT]' })
      .option('trace', {
        type: 'string',
        requiresArg: true,
        describe: 'When it is unmounted, write to FILE what was read first',
      })
      .option('foreground', {
        type: 'boolean',
        default: false,
        describe: 'Stay until it is unmounted; Ctrl-C unmounts it',
      }),
  async run(args, io) {
    if (args.upper !== undefined && !args.rw) {
      throw new NaiadError('USAGE', '--upper is for what is written to a mount, and without --rw nothing is', {
        hint: 'Add --rw, or leave out --upper.',
      });
    }
    const request = {
      image: args.image,
      mountpoint: args.directory,
      driver: args.driver,
      readWrite: args.rw,
      upper: args.upper,
      recordTo: args.trace,
      ...readCacheFlags(args),
      platform: args.platform,
      registry: readRegistryFlags(args).registry,
    };
    const { startMount } = await import('../../mount/start.ts');
    const status = await startMount(request, io.signal);
    io.result(status, renderReady);
    if (!args.foreground) return;
    const { followMount } = await import('../../mount/mounts.ts');
    await followMount(status, io.signal);
  },
});

function renderReady({ mount }: MountStatus): string {
  const mode = mount.readWrite ? 'read-write' : 'read-only';
  return [`${mount.image} is mounted ${mode} on ${mount.mountpoint}`, ...mount.why.map((line) => `  ${line}`)].join(
    '\n',
  );
}
