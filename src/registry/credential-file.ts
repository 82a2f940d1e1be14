// Files of docker (`config.json`) and podman (`auth.json`): which entry names a repository, and how one is put in or taken
// out. What other tools keep in them stays as it is; what is written can be read by its owner only.
import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { NaiadError } from '../base/errors.ts';
import { CREDENTIALS_SIZE_MAX } from '../base/limits.ts';
import { systemError } from '../base/system-error.ts';
import type { Credentials } from './credential.ts';

type Json = Readonly<Record<string, unknown>>;

/** The key docker keeps Docker Hub under. */
const DOCKER_HUB_KEY = 'https://index.docker.io/v1/';

export interface HelperChoice {
  /** The program is `docker-credential-NAME`. */
  readonly name: string;
  /** What the helper knows the registry as. */
  readonly server: string;
}

export interface CredentialFile {
  /** The file, or the variable, for messages. */
  readonly path: string;
  readonly document: Json;
}

/**
 * Undefined when there is no such file, when it is empty or when it is another user's.
 * @throws NaiadError CREDENTIALS_INVALID
 */
export async function readCredentialFile(path: string): Promise<CredentialFile | undefined> {
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
  return parseCredentialFile(path, text);
}

/** @throws NaiadError CREDENTIALS_INVALID */
export function parseCredentialFile(path: string, text: string): CredentialFile | undefined {
  if (text.trim() === '') return undefined;
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    // Without its cause: the parser quotes what it read.
    throw new NaiadError('CREDENTIALS_INVALID', `${path}: not JSON`, { hint: 'Log in again, or remove the file.' });
  }
  if (typeof document !== 'object' || document === null || Array.isArray(document)) {
    throw new NaiadError('CREDENTIALS_INVALID', `${path}: not a JSON object`);
  }
  return { path, document: document as Json };
}

/** Helpers to ask for `host`, in the order docker asks them: the host's own, then the one for all. */
export function helpersOf({ document }: CredentialFile, host: string): HelperChoice[] {
  const choices: HelperChoice[] = [];
  for (const [key, name] of Object.entries(asObject(document.credHelpers))) {
    if (isText(name) && normaliseKey(key) === host) choices.push({ name, server: key });
  }
  const { credsStore } = document;
  if (isText(credsStore)) choices.push({ name: credsStore, server: serverKey(host) });
  return choices;
}

/**
 * What the file itself holds for `name` (`host/repository`), by the longest key that is a prefix of it at a slash.
 * @throws NaiadError CREDENTIALS_INVALID when that entry cannot be read
 */
export function findCredentials(file: CredentialFile, name: string): Credentials | undefined {
  let best: { key: string; entry: Json; length: number } | undefined;
  for (const [key, value] of Object.entries(asObject(file.document.auths))) {
    const place = normaliseKey(key);
    const entry = asObject(value);
    // An empty entry says that a helper knows.
    if (!isUsable(entry) || (place !== name && !name.startsWith(`${place}/`))) continue;
    if (!best || place.length > best.length) best = { key, entry, length: place.length };
  }
  return best && decodeEntry(file.path, best.key, best.entry);
}

/** As a helper, or docker's file, names the registry of `host`. */
export function serverKey(host: string): string {
  return host === 'docker.io' ? DOCKER_HUB_KEY : host;
}

function asObject(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {};
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

/** `https://index.docker.io/v1/` and the other spellings of one registry, as references name it. */
export function normaliseKey(key: string): string {
  const bare = key
    .toLowerCase()
    .replace(/^https?:\/\//, '')
    .replace(/\/+$/, '')
    .replace(/\/v[12]$/, '');
  return bare.replace(/^(index\.docker\.io|registry-1\.docker\.io)(?=\/|$)/, 'docker.io');
}

function isUsable(entry: Json): boolean {
  const { auth, username, password, identitytoken, registrytoken } = entry;
  return Boolean(auth || identitytoken || registrytoken || (username && password));
}

function decodeEntry(source: string, key: string, entry: Json): Credentials {
  const invalid = (why: string) => new NaiadError('CREDENTIALS_INVALID', `${source}: the entry of ${key} ${why}`);
  const { auth, username, password, identitytoken, registrytoken } = entry;
  if (isText(registrytoken)) return { kind: 'bearer-token', user: '', password: registrytoken, source };
  if (isText(identitytoken)) return { kind: 'identity-token', user: '', password: identitytoken, source };
  if (!auth) return { user: String(username), password: String(password), source };
  if (!isText(auth)) throw invalid('has an "auth" that is no string');
  const decoded = Buffer.from(auth, 'base64').toString('utf8');
  const colon = decoded.indexOf(':');
  if (colon < 1) throw invalid('has an "auth" that is not base64 of user:password');
  return { user: decoded.slice(0, colon), password: decoded.slice(colon + 1).replace(/\0+$/, ''), source };
}

/** Puts an entry under `key`, in place of every other spelling of it. @throws NaiadError PERMISSION, NO_SPACE, IO */
export async function storeEntry(
  path: string,
  key: string,
  { user, password, kind }: Pick<Credentials, 'user' | 'password' | 'kind'>,
): Promise<void> {
  const auth = Buffer.from(kind ? `${user}:` : `${user}:${password}`).toString('base64');
  const entry = kind === 'identity-token' ? { auth, identitytoken: password } : { auth };
  await rewrite(path, (auths) => ({ ...without(auths, key), [key]: entry }));
}

/** Takes out what is kept for `key`, however it is spelled; false when there was nothing. */
export async function eraseEntry(path: string, key: string): Promise<boolean> {
  let found = false;
  await rewrite(path, (auths) => {
    const rest = without(auths, key);
    found = Object.keys(rest).length < Object.keys(auths).length;
    return found ? rest : undefined;
  });
  return found;
}

function without(auths: Json, key: string): Json {
  return Object.fromEntries(Object.entries(auths).filter(([other]) => normaliseKey(other) !== normaliseKey(key)));
}

async function rewrite(path: string, change: (auths: Json) => Json | undefined): Promise<void> {
  const file = await readCredentialFile(path);
  const document = file?.document ?? {};
  const auths = change(asObject(document.auths));
  if (auths === undefined) return;
  await replaceFile(path, `${JSON.stringify({ ...document, auths }, undefined, '\t')}\n`);
}

/** Whoever reads the file meanwhile sees the old or the new one whole. */
async function replaceFile(path: string, text: string): Promise<void> {
  try {
    // A link to where the file really is stays one.
    const place = await realpath(path).catch(() => path);
    await mkdir(dirname(place), { recursive: true, mode: 0o700 });
    const unfinished = join(dirname(place), `.naiad-${randomBytes(6).toString('hex')}`);
    try {
      await using file = await open(unfinished, 'wx', 0o600);
      await file.writeFile(text);
      await file.sync();
      await rename(unfinished, place);
    } catch (error) {
      await rm(unfinished, { force: true });
      throw error;
    }
  } catch (error) {
    throw systemError(error, `writing ${path}`);
  }
}
