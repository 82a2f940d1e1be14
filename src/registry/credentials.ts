// Who we are at a registry, from where docker and podman keep it: the environment, their files, their helper programs.
// Looking up is a function of host and repository and keeps nothing between calls, so that a login in between counts.
// Which file or helper won, or where we looked in vain, is kept for messages; the password never is.
import { homedir } from 'node:os';
import { join } from 'node:path';
import { NaiadError } from '../base/errors.ts';
import type { Credentials } from './credential.ts';
import {
  type CredentialFile,
  findCredentials,
  helpersOf,
  parseCredentialFile,
  readCredentialFile,
} from './credential-file.ts';
import { askHelper } from './credential-helper.ts';

/** What was found for a repository; `looked` and `passedOver` explain an absence. */
export interface CredentialLookup {
  readonly credentials: Credentials | undefined;
  /** Files that exist and were searched. */
  readonly looked: readonly string[];
  /** Why something that should know this registry could not tell. */
  readonly passedOver?: string;
}

export type CredentialSource = (target: {
  readonly host: string;
  readonly repository: string;
}) => Promise<CredentialLookup>;

/** The part of the environment that says where credentials are. */
export type CredentialEnvironment = Readonly<Record<string, string | undefined>>;

export interface CredentialOptions {
  readonly env?: CredentialEnvironment;
  /** The only file to look into. */
  readonly authFile?: string | undefined;
}

/** Credential files in the order they are asked, existing or not. */
function credentialFiles({ env = process.env, authFile }: CredentialOptions = {}): string[] {
  if (authFile !== undefined) return [authFile];
  const home = env.HOME ?? homedir();
  const runtime = env.XDG_RUNTIME_DIR ?? `/run/containers/${process.getuid?.() ?? 0}`;
  return [
    ...(env.REGISTRY_AUTH_FILE ? [env.REGISTRY_AUTH_FILE] : []),
    join(env.DOCKER_CONFIG ?? join(home, '.docker'), 'config.json'),
    join(runtime, 'containers', 'auth.json'),
    join(env.XDG_CONFIG_HOME ?? join(home, '.config'), 'containers', 'auth.json'),
  ];
}

/** The file a login is written to: the one named, else docker's, which podman and skopeo read as well. */
export function loginFile(options: CredentialOptions = {}): string {
  return credentialFiles(options)[0] as string;
}

/** Looks through environment, files and helpers, each time it is asked. */
export function findCredentialsIn(options: CredentialOptions = {}): CredentialSource {
  const { env = process.env } = options;
  return async ({ host, repository }) => {
    const looked: string[] = [];
    const troubles: string[] = [];
    const name = repository === '' ? host : `${host}/${repository}`;
    for await (const file of files(options)) {
      looked.push(file.path);
      const credentials = (await fromHelpers(file, host, env, troubles)) ?? findCredentials(file, name);
      if (credentials) return { credentials, looked };
    }
    return { credentials: undefined, looked, ...(troubles[0] ? { passedOver: troubles[0] } : {}) };
  };
}

async function* files(options: CredentialOptions): AsyncGenerator<CredentialFile> {
  const { env = process.env, authFile } = options;
  const inline = env.DOCKER_AUTH_CONFIG;
  if (inline !== undefined && authFile === undefined) {
    const file = parseCredentialFile('$DOCKER_AUTH_CONFIG', inline);
    if (file) yield file;
  }
  for (const path of credentialFiles(options)) {
    const file = await readCredentialFile(path);
    if (file) yield file;
  }
}

/** A helper that fails is no reason not to pull a public image; should the registry refuse us, this is why. */
async function fromHelpers(
  file: CredentialFile,
  host: string,
  env: CredentialEnvironment,
  troubles: string[],
): Promise<Credentials | undefined> {
  for (const helper of helpersOf(file, host)) {
    try {
      const found = await askHelper(helper, { env });
      if (found) return { ...found, source: `${found.source} (${file.path})` };
    } catch (error) {
      if (!(error instanceof NaiadError)) throw error;
      troubles.push(error.message);
    }
  }
  return undefined;
}

/** For messages: whose credentials these are, and where they are from. */
export function describeCredentials({ kind, user, source }: Credentials): string {
  return kind
    ? `the ${kind.replace('-', ' ')} from ${source}`
    : `credentials of ${JSON.stringify(user)} from ${source}`;
}

export function basicAuthorization(credentials: Pick<Credentials, 'user' | 'password'>): string {
  return `Basic ${Buffer.from(`${credentials.user}:${credentials.password}`).toString('base64')}`;
}
