// Logging in: the registry is asked whether it takes the credentials before they are kept where docker and podman look.
import { hasCode, NaiadError } from '../base/errors.ts';
import {
  eraseEntry,
  type HelperChoice,
  helpersOf,
  normaliseKey,
  readCredentialFile,
  serverKey,
  storeEntry,
} from './credential-file.ts';
import { eraseInHelper, storeInHelper } from './credential-helper.ts';
import {
  basicAuthorization,
  type CredentialOptions,
  type CredentialSource,
  findCredentialsIn,
  loginFile,
} from './credentials.ts';
import { discard } from './exchange.ts';
import { type Call, Registry, type RegistryOptions } from './transport.ts';

/** What is logged in to: a registry, or only repositories below a path of it. */
export interface LoginPlace {
  /** As references name it. */
  readonly host: string;
  /** Without slashes around it; empty for the whole registry. */
  readonly path: string;
}

/** `registry.example:5000[/path]`, also as a URL. @throws NaiadError USAGE */
export function parseLoginPlace(text: string): LoginPlace {
  const [host = '', ...path] = normaliseKey(text).split('/');
  if (!/^(?:[a-z0-9]+(?:[._-]+[a-z0-9]+)*|\[[0-9a-f:.]+\])(?::\d{1,5})?$/.test(host) || path.includes('')) {
    throw new NaiadError('USAGE', `${JSON.stringify(text.slice(0, 200))} names no registry`, {
      hint: 'Name it as images do: registry.example:5000',
    });
  }
  return { host, path: path.join('/') };
}

export interface LoginOptions extends CredentialOptions {
  readonly registry?: RegistryOptions;
  readonly signal?: AbortSignal | undefined;
}

export interface LoginResult {
  readonly registry: string;
  readonly user: string;
  /** The file, or the helper with its file. */
  readonly storedIn: string;
  /** False when the registry never asked who we are. */
  readonly verified: boolean;
}

/**
 * Keeps a user name and password for a place, once the registry has taken them.
 * @throws NaiadError ACCESS_DENIED, REGISTRY_…, CREDENTIALS_INVALID, PERMISSION, NO_SPACE, IO
 */
export async function logIn(
  place: LoginPlace,
  account: { readonly user: string; readonly password: string },
  options: LoginOptions = {},
): Promise<LoginResult> {
  const { env = process.env } = options;
  const verified = await verify(place, account, options);
  const file = loginFile(options);
  const helper = await helperFor(place, file);
  if (helper) await storeInHelper(helper, account, { env });
  else await storeEntry(file, keyOf(place), account);
  const storedIn = helper ? `docker-credential-${helper.name} (${file})` : file;
  return { registry: keyOf(place), user: account.user, storedIn, verified };
}

async function verify(
  { host }: LoginPlace,
  account: { readonly user: string; readonly password: string },
  { registry: options = {}, signal }: LoginOptions,
): Promise<boolean> {
  let wasAsked = false;
  const credentials: CredentialSource = async () => {
    wasAsked = true;
    return { credentials: { ...account, source: 'this login' }, looked: [] };
  };
  await using registry = new Registry(host, { ...options, credentials });
  const ping: Call = {
    ...{ method: 'GET', path: '/v2/', repository: '', actions: 'pull' },
    ...{ what: 'login', notFound: 'REGISTRY_PROTOCOL', signal },
  };
  try {
    await registry.ask(ping, [200], async (response) => discard(response));
    if (wasAsked) return true;
    // Some let everybody in here, but nobody who says who they are and is not (zot). Other answers tell nothing.
    const headers = { authorization: basicAuthorization(account) };
    const response = await registry.retry(ping, registry.readDeadlineMs, (within) =>
      registry.send({ ...ping, headers, signal: within }),
    );
    if (response.status === 401) throw await registry.refusal(response, ping);
    discard(response);
    return wasAsked;
  } catch (error) {
    if (!hasCode(error, 'ACCESS_DENIED')) throw error;
    const { message, cause } = error;
    throw new NaiadError('ACCESS_DENIED', message, { hint: 'Check the user name and the password.', cause });
  }
}

/** As docker keys its file, and podman reads it. */
function keyOf({ host, path }: LoginPlace): string {
  return path === '' ? serverKey(host) : `${host}/${path}`;
}

/** Helpers know registries, not paths of them. */
async function helperFor({ host, path }: LoginPlace, file: string): Promise<HelperChoice | undefined> {
  if (path !== '') return undefined;
  const content = await readCredentialFile(file);
  return content && helpersOf(content, host)[0];
}

export interface LogoutResult {
  readonly registry: string;
  /** Where credentials were taken out. */
  readonly removedFrom: readonly string[];
  /** Who still has some for this place, if anyone. */
  readonly remaining: string | undefined;
}

/**
 * Takes credentials out of where `logIn` would put them.
 * @throws NaiadError CREDENTIALS_INVALID, PERMISSION, NO_SPACE, IO
 */
export async function logOut(place: LoginPlace, options: CredentialOptions = {}): Promise<LogoutResult> {
  const { env = process.env } = options;
  const file = loginFile(options);
  const removedFrom: string[] = [];
  const helper = await helperFor(place, file);
  if (helper && (await eraseInHelper(helper, { env }))) removedFrom.push(`docker-credential-${helper.name}`);
  if (await eraseEntry(file, keyOf(place))) removedFrom.push(file);
  const left = await findCredentialsIn(options)({ host: place.host, repository: place.path });
  return { registry: keyOf(place), removedFrom, remaining: left.credentials?.source };
}
