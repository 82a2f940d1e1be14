// User names and passwords from the files of docker and podman: `auths`, by the longest matching prefix of
// `host/repository`. Which file and key won, or where we looked in vain, is kept for messages; the password never is.
import { readFile, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { NaiadError } from '../base/errors.ts';
import { CREDENTIALS_SIZE_MAX } from '../base/limits.ts';

export interface Credentials {
  readonly user: string;
  readonly password: string;
  /** Where they are from: a file's path. */
  readonly source: string;
}

/** What was found for a repository; `looked` and `passedOver` explain an absence. */
export interface CredentialLookup {
  readonly credentials: Credentials | undefined;
  /** Files that exist and were searched. */
  readonly looked: readonly string[];
  /** Why an entry that names this registry cannot be used. */
  readonly passedOver?: string;
}

export type CredentialSource = (target: {
  readonly host: string;
  readonly repository: string;
}) => Promise<CredentialLookup>;

/** The part of the environment that says where credential files are. */
export type CredentialEnvironment = Readonly<Record<string, string | undefined>>;

/** Credential files in the order they are asked, existing or not. */
export function credentialFiles(env: CredentialEnvironment): string[] {
  const home = env.HOME ?? homedir();
  const runtime = env.XDG_RUNTIME_DIR ?? `/run/containers/${process.getuid?.() ?? 0}`;
  return [
    ...(env.REGISTRY_AUTH_FILE ? [env.REGISTRY_AUTH_FILE] : []),
    join(env.DOCKER_CONFIG ?? join(home, '.docker'), 'config.json'),
    join(runtime, 'containers', 'auth.json'),
    join(env.XDG_CONFIG_HOME ?? join(home, '.config'), 'containers', 'auth.json'),
  ];
}

/** Looks through the credential files of `env`, once a lookup, so that a login in between counts. */
export function credentialsFromFiles(env: CredentialEnvironment = process.env): CredentialSource {
  return async ({ host, repository }) => {
    const looked: string[] = [];
    let passedOver: string | undefined;
    for (const path of credentialFiles(env)) {
      const file = await readCredentialFile(path);
      if (!file) continue;
      looked.push(path);
      const found = findEntry(file.auths, `${host}/${repository}`);
      const helper = file.helperFor(host);
      if (found && hasPassword(found.entry)) {
        return { credentials: decodeEntry(path, found.key, found.entry), looked };
      }
      if (found?.entry.identitytoken || found?.entry.registrytoken) {
        passedOver ??= `${path} holds a token for ${found.key}, which naiad cannot use yet`;
      } else if (helper) {
        passedOver ??= `${path} leaves ${host} to the helper docker-credential-${helper}, which naiad cannot ask yet`;
      }
    }
    return { credentials: undefined, looked, ...(passedOver ? { passedOver } : {}) };
  };
}

interface AuthEntry {
  readonly auth?: string;
  readonly username?: string;
  readonly password?: string;
  readonly identitytoken?: string;
  readonly registrytoken?: string;
}

interface CredentialFile {
  readonly auths: Readonly<Record<string, unknown>>;
  helperFor(host: string): string | undefined;
}

async function readCredentialFile(path: string): Promise<CredentialFile | undefined> {
  let text: string;
  try {
    const { size } = await stat(path);
    if (size > CREDENTIALS_SIZE_MAX) {
      throw new NaiadError('CREDENTIALS_INVALID', `${path}: ${size} bytes, at most ${CREDENTIALS_SIZE_MAX} are read`);
    }
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof NaiadError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    // Another user's runtime directory is no source of ours.
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EACCES') return undefined;
    throw new NaiadError('CREDENTIALS_INVALID', `${path}: ${code}`, { cause: error });
  }
  if (text.trim() === '') return undefined;
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    // Without its cause: the parser quotes what it read.
    throw new NaiadError('CREDENTIALS_INVALID', `${path}: not JSON`, { hint: 'Log in again, or remove the file.' });
  }
  const { auths, credHelpers, credsStore } = asObject(document);
  return {
    auths: asObject(auths),
    helperFor: (host) => {
      const helper = asObject(credHelpers)[host] ?? credsStore;
      return typeof helper === 'string' && helper !== '' ? helper.slice(0, 100) : undefined;
    },
  };
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

/** The entry with the longest key that is `name` or a prefix of it at a slash. */
function findEntry(
  auths: Readonly<Record<string, unknown>>,
  name: string,
): { readonly key: string; readonly entry: AuthEntry } | undefined {
  let best: { key: string; entry: AuthEntry; length: number } | undefined;
  for (const [key, entry] of Object.entries(auths)) {
    const place = normaliseKey(key);
    if (place !== name && !name.startsWith(`${place}/`)) continue;
    if (!best || place.length > best.length) best = { key, entry: asObject(entry), length: place.length };
  }
  return best;
}

/** `https://index.docker.io/v1/` and the other spellings of one registry, as references name it. */
function normaliseKey(key: string): string {
  const bare = key
    .toLowerCase()
    .replace(/^https?:\/\//, '')
    .replace(/\/+$/, '')
    .replace(/\/v[12]$/, '');
  return bare.replace(/^(index\.docker\.io|registry-1\.docker\.io)(?=\/|$)/, 'docker.io');
}

function hasPassword(entry: AuthEntry): boolean {
  return Boolean(entry.auth) || Boolean(entry.username && entry.password);
}

function decodeEntry(path: string, key: string, entry: AuthEntry): Credentials {
  const invalid = (why: string) => new NaiadError('CREDENTIALS_INVALID', `${path}: the entry of ${key} ${why}`);
  if (!entry.auth) return { user: String(entry.username), password: String(entry.password), source: path };
  if (typeof entry.auth !== 'string') throw invalid('has an "auth" that is no string');
  const decoded = Buffer.from(entry.auth, 'base64').toString('utf8');
  const colon = decoded.indexOf(':');
  if (colon < 1) throw invalid('has an "auth" that is not base64 of user:password');
  return { user: decoded.slice(0, colon), password: decoded.slice(colon + 1).replace(/\0+$/, ''), source: path };
}

export function basicAuthorization(credentials: Pick<Credentials, 'user' | 'password'>): string {
  return `Basic ${Buffer.from(`${credentials.user}:${credentials.password}`).toString('base64')}`;
}
