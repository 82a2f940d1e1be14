import { version } from '../../base/version.ts';
import type { Check } from '../../mount/doctor.ts';
import { defineCommand } from '../command.ts';
import { knownHosts, readRegistryFlags, registryFlags } from '../registry-flags.ts';

export const command = defineCommand({
  usage: 'doctor [image]',
  summary: 'Test this machine and, with an image, its registry',
  examples: [
    ['naiad doctor', 'Kernel, drivers, cache, runtime, limits; exit code 1 when nothing can be mounted'],
    ['naiad doctor registry.example/app:1-naiad', 'And whether that image can be reached and read in parts'],
  ],
  options: (parser) =>
    registryFlags(parser)
      .positional('image', { type: 'string', describe: 'Converted image to test as well' })
      .option('cache', { type: 'string', requiresArg: true, describe: 'Cache directory' })
      .option('platform', {
        type: 'string',
        requiresArg: true,
        describe: 'Of an image for several: OS/ARCH[/VARIANT]',
      }),
  async run(args, io) {
    const { image, cache, platform } = args;
    const [{ examineMachine }, { examineImage }, { examineRegistry }, { cacheDir }] = await Promise.all([
      import('../../mount/doctor.ts'),
      import('../../mount/doctor-image.ts'),
      import('../../mount/doctor-registry.ts'),
      import('../../store/paths.ts'),
    ]);
    const machine = await examineMachine({ cache: cacheDir(cache), version: version() });
    const registry = { ...readRegistryFlags(args).registry, ...knownHosts(cache) };
    const options = { signal: io.signal, registry, ...(platform !== undefined && { platform }) };
    const checks = [...machine, ...(image === undefined ? [] : await examineImage(image, options))];
    if (image !== undefined) checks.push(...(await examineRegistry(image, options)));
    io.result(checks, (all) => all.flatMap(renderCheck).join('\n'));
    if (checks.some(({ status }) => status === 'fail')) io.setExitCode(1);
  },
});

const NAME_WIDTH = 18;

function renderCheck({ name, status, detail, hint }: Check): string[] {
  const line = `${status.padEnd(5)} ${name.padEnd(NAME_WIDTH)} ${detail}`;
  return hint === undefined ? [line] : [line, `${' '.repeat(6 + NAME_WIDTH + 1)}${hint}`];
}
