// Clients of registries that are quick to give up, and who they are.
import type { CredentialSource } from '../../src/registry/credentials.ts';
import { Registry, type RegistryOptions } from '../../src/registry/transport.ts';

/** No credentials, and nowhere that they were looked for. */
export const nobody: CredentialSource = async () => ({ credentials: undefined, looked: [] });

export const someone: CredentialSource = async () => ({
  credentials: { user: 'u', password: 'p4ssw0rd', source: '/auth.json' },
  looked: ['/auth.json'],
});

/** A registry that is asked again at once, and not often. */
export function hastyRegistry(host: string, options: RegistryOptions = {}): Registry {
  return new Registry(host, { credentials: nobody, retryDelayMs: 1, attemptsMax: 3, ...options });
}
