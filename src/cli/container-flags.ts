// Options of the commands that run a container of an image.
import type { Argv } from 'yargs';
import { RUNTIME_NAMES, type RuntimeName } from '../container/runtime.ts';
import { DRIVER_NAMES, type DriverName } from '../mount/driver.ts';
import type { RunRequest } from '../mount/run-container.ts';
import { type CacheFlags, cacheFlags, readCacheFlags } from './cache-flags.ts';
import { type RegistryFlags, readRegistryFlags, registryFlags } from './registry-flags.ts';

export function containerFlags<T>(parser: Argv<T>) {
  return registryFlags(cacheFlags(parser))
    .positional('image', { type: 'string', demandOption: true, describe: 'Converted image' })
    .positional('command', { type: 'string', array: true, default: [], describe: "Instead of the image's own" })
    .option('env', {
      alias: 'e',
      type: 'string',
      array: true,
      nargs: 1,
      describe: 'NAME=VALUE, or NAME for your own',
    })
    .option('workdir', { alias: 'w', type: 'string', requiresArg: true, describe: 'Directory to start in' })
    .option('user', { alias: 'u', type: 'string', requiresArg: true, describe: 'NAME|UID[:GROUP|GID] in the image' })
    .option('volume', { alias: 'v', type: 'string', array: true, nargs: 1, describe: 'SOURCE:DESTINATION[:ro]' })
    .option('net', { choices: ['host', 'none'] as const, default: 'host' as const, describe: 'Network' })
    .option('runtime', {
      choices: ['auto', ...RUNTIME_NAMES] as const,
      default: 'auto' as const,
      describe: 'OCI runtime',
    })
    .option('driver', {
      choices: ['auto', ...DRIVER_NAMES] as const,
      default: 'auto' as const,
      describe: 'How to mount',
    })
    .option('platform', { type: 'string', requiresArg: true, describe: 'Of an image for several: OS/ARCH[/VARIANT]' });
}

interface ContainerFlags extends CacheFlags, RegistryFlags {
  readonly image: string;
  readonly command: readonly string[];
  readonly env: readonly string[] | undefined;
  readonly workdir: string | undefined;
  readonly user: string | undefined;
  readonly volume: readonly string[] | undefined;
  readonly net: 'host' | 'none';
  readonly runtime: RuntimeName | 'auto';
  readonly driver: DriverName | 'auto';
  readonly platform: string | undefined;
}

/** @throws NaiadError USAGE */
export async function readContainerFlags(flags: ContainerFlags): Promise<Omit<RunRequest, 'readOnly' | 'tty'>> {
  const { parseEnv, parseVolume } = await import('../container/container-config.ts');
  const { image, command, workdir, user, net, runtime, driver, platform } = flags;
  return {
    image,
    command,
    env: (flags.env ?? []).flatMap((text) => parseEnv(text, process.env)),
    workdir,
    user,
    volumes: (flags.volume ?? []).map(parseVolume),
    net,
    runtime,
    driver,
    platform,
    fetch: readCacheFlags(flags),
    registry: readRegistryFlags(flags).registry,
  };
}
