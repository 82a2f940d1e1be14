// Options of every command that talks to a registry.
import type { Argv } from 'yargs';
import type { RegistryOptions } from '../registry/transport.ts';
import { cacheDir, registriesDir } from '../store/paths.ts';

export function registryFlags<T>(parser: Argv<T>) {
  return parser
    .option('authfile', { type: 'string', describe: 'File with the credentials, instead of the usual ones' })
    .option('certs-dir', { type: 'string', describe: 'Directory with HOST/hosts.toml and HOST/*.crt' })
    .option('plain-http', { type: 'boolean', describe: 'Speak to registries without TLS' })
    .option('insecure-skip-verify', { type: 'boolean', describe: 'Do not check certificates' })
    .option('dragonfly', {
      type: 'string',
      requiresArg: true,
      describe: "Dragonfly's daemon, asked for blobs first: http://127.0.0.1:4001  [$NAIAD_DRAGONFLY]",
    });
}

export interface RegistryFlags {
  readonly authfile: string | undefined;
  readonly 'certs-dir': string | undefined;
  readonly 'plain-http': boolean | undefined;
  readonly 'insecure-skip-verify': boolean | undefined;
  readonly dragonfly: string | undefined;
}

/** Where what registries are like is kept from one command to the next. */
export function knownHosts(cache?: string): { readonly knownHosts: string } {
  return { knownHosts: registriesDir(cacheDir(cache)) };
}

/** As the transports take them. */
export function readRegistryFlags(flags: RegistryFlags): {
  readonly registry: RegistryOptions;
  readonly authFile: string | undefined;
} {
  const registry = {
    authFile: flags.authfile,
    certsDir: flags['certs-dir'],
    plainHttp: flags['plain-http'],
    insecureSkipVerify: flags['insecure-skip-verify'],
    dragonfly: flags.dragonfly ?? (process.env.NAIAD_DRAGONFLY || undefined),
  };
  return { registry, authFile: registry.authFile };
}
