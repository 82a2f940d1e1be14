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
    .option('tls-verify', {
      type: 'boolean',
      describe: '--tls-verify=false: no certificate is checked, and none needed',
    })
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
  readonly 'tls-verify': boolean | undefined;
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
    ...waysOf(flags),
    insecureSkipVerify: flags['insecure-skip-verify'] || flags['tls-verify'] === false || undefined,
    dragonfly: flags.dragonfly ?? (process.env.NAIAD_DRAGONFLY || undefined),
  };
  return { registry, authFile: registry.authFile };
}

const FLAGS = ['authfile', 'certs-dir', 'plain-http', 'insecure-skip-verify', 'tls-verify', 'dragonfly'] as const;

/** The same, for a naiad that is started by this one. */
export function registryArguments(flags: RegistryFlags): string[] {
  return FLAGS.flatMap((name) => (flags[name] === undefined ? [] : [`--${name}=${flags[name]}`]));
}

function waysOf(flags: Pick<RegistryFlags, 'authfile' | 'certs-dir' | 'plain-http' | 'tls-verify'>): RegistryOptions {
  return {
    authFile: flags.authfile,
    certsDir: flags['certs-dir'],
    plainHttp: flags['plain-http'],
    plainHttpFallback: flags['tls-verify'] === false || undefined,
  };
}

/** For commands that read from one place and write to another: the options above for both, and those of one of them. */
export function sourceTargetFlags<T>(parser: Argv<T>) {
  return registryFlags(parser)
    .option('src-authfile', { type: 'string', describe: '--authfile of the source' })
    .option('src-certs-dir', { type: 'string', describe: '--certs-dir of the source' })
    .option('src-plain-http', { type: 'boolean', describe: '--plain-http of the source' })
    .option('src-tls-verify', { type: 'boolean', describe: '--tls-verify of the source' })
    .option('dest-authfile', { type: 'string', describe: '--authfile of the target' })
    .option('dest-certs-dir', { type: 'string', describe: '--certs-dir of the target' })
    .option('dest-plain-http', { type: 'boolean', describe: '--plain-http of the target' })
    .option('dest-tls-verify', { type: 'boolean', describe: '--tls-verify of the target' });
}

type Side = 'src' | 'dest';
type SideFlags = {
  readonly [Name in `${Side}-${'authfile' | 'certs-dir'}`]: string | undefined;
} & {
  readonly [Name in `${Side}-${'plain-http' | 'tls-verify'}`]: boolean | undefined;
};

/** How each of the two is reached. */
export function readSourceTargetFlags(flags: RegistryFlags & SideFlags): {
  readonly source: RegistryOptions;
  readonly target: RegistryOptions;
} {
  const of = (side: Side) =>
    readRegistryFlags({
      ...flags,
      authfile: flags[`${side}-authfile`] ?? flags.authfile,
      'certs-dir': flags[`${side}-certs-dir`] ?? flags['certs-dir'],
      'plain-http': flags[`${side}-plain-http`] ?? flags['plain-http'],
      'tls-verify': flags[`${side}-tls-verify`] ?? flags['tls-verify'],
    }).registry;
  return { source: of('src'), target: of('dest') };
}
