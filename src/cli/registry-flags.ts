// Options of every command that talks to a registry.
import type { Argv } from 'yargs';
import type { RegistryOptions } from '../registry/transport.ts';

export function registryFlags<T>(parser: Argv<T>) {
  return parser.option('authfile', {
    type: 'string',
    describe: 'File with the credentials, instead of the usual ones',
  });
}

export interface RegistryFlags {
  readonly authfile: string | undefined;
}

/** As the transports take them. */
export function readRegistryFlags({ authfile }: RegistryFlags): {
  readonly registry: RegistryOptions;
  readonly authFile: string | undefined;
} {
  return { registry: { authFile: authfile }, authFile: authfile };
}
