// The token flows of distribution. With a password, or with nothing: GET realm?service=…&scope=…, and where there is no GET,
// the same as a form by POST. With an identity token: POST, and where that is not known, GET with the token as password.
import { NaiadError } from '../base/errors.ts';
import { ERROR_BODY_SIZE_MAX } from '../base/limits.ts';
import { TransientFailure } from '../base/transient.ts';
import type { Credentials } from './credential.ts';
import { basicAuthorization, describeCredentials } from './credentials.ts';
import { discard, type Exchange, type HttpResponse, readBody, retryAfterMs } from './exchange.ts';
import type { Secrets } from './redact.ts';
import { resolveTarget } from './redirect.ts';

export interface Token {
  readonly value: string;
  /** On the clock it was fetched by: from here on another one is asked for. */
  readonly renewAt: number;
}

export interface TokenRequest {
  readonly host: string;
  readonly origin: URL;
  readonly realm: string | undefined;
  readonly service: string | undefined;
  readonly scopes: readonly string[];
  readonly credentials: Credentials | undefined;
  readonly secrets: Secrets;
}

/** The specification's default, and the least that clients rely on. */
const LIFETIME_SEC_MIN = 60;
const LIFETIME_SEC_MAX = 24 * 3600;
/** A token is renewed after this share of its life, less up to a tenth at random. */
const RENEW_SHARE = 0.85;
const CLIENT_ID = 'naiad';

/** @throws NaiadError ACCESS_DENIED, REGISTRY_PROTOCOL; TransientFailure */
export async function fetchToken(request: TokenRequest, send: Exchange, clock: () => number): Promise<Token> {
  const { credentials, secrets, host, origin, realm } = request;
  if (realm === undefined) throw new NaiadError('REGISTRY_PROTOCOL', `${host}: its Bearer challenge names no realm`);
  const url = resolveTarget(origin, realm, 'its token service points');
  const where = `token service ${url.host} of ${host}`;
  const askedAt = clock();
  const response = await ask(request, url, send);
  if (response.status === 401 || response.status === 403) {
    discard(response);
    const who = credentials ? `refused ${describeCredentials(credentials)}` : 'gives no token without credentials';
    throw new NaiadError('ACCESS_DENIED', `${where} ${who} (status ${response.status})`, {
      hint: `Log in again: naiad login ${host}`,
    });
  }
  if (response.status !== 200) {
    discard(response);
    const failure = new NaiadError('REGISTRY_UNAVAILABLE', `${where} answered ${response.status}`);
    if (response.status === 429 || response.status >= 500) throw new TransientFailure(failure, retryAfterMs(response));
    throw failure;
  }
  const body = await readBody(response, ERROR_BODY_SIZE_MAX, where);
  const { value, lifetimeSec } = parseToken(body, where);
  secrets.add(value);
  const share = RENEW_SHARE - Math.random() * 0.1;
  return { value, renewAt: askedAt + lifetimeSec * 1000 * share };
}

/** Statuses of a service that does not know a flow: GCR 404, ACR 400, Artifactory 401, others 405. */
const UNKNOWN_FLOW = { GET: [404, 405], POST: [400, 401, 404, 405] };

async function ask(request: TokenRequest, url: URL, send: Exchange): Promise<HttpResponse> {
  const { credentials } = request;
  const [first, second] = credentials?.kind === 'identity-token' ? [byPost, byGet] : [byGet, byPost];
  const response = await first(request, url, send);
  const unknown = first === byPost ? UNKNOWN_FLOW.POST : UNKNOWN_FLOW.GET;
  if (!credentials || !unknown.includes(response.status)) return response;
  discard(response);
  return await second(request, url, send);
}

// Neither request ends with a signal of those who wait for this token: they share it. undici's timeouts end it.

async function byGet({ service, scopes, credentials }: TokenRequest, realm: URL, send: Exchange) {
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.set('service', service);
  for (const scope of scopes) url.searchParams.append('scope', scope);
  if (credentials?.user) url.searchParams.set('account', credentials.user);
  const authorization = credentials && basicAuthorization(credentials);
  const headers = { accept: 'application/json', ...(authorization ? { authorization } : {}) };
  return await send({ method: 'GET', url, headers });
}

async function byPost({ service, scopes, credentials }: TokenRequest, url: URL, send: Exchange) {
  const form = new URLSearchParams({ client_id: CLIENT_ID });
  if (service !== undefined) form.set('service', service);
  if (scopes.length > 0) form.set('scope', scopes.join(' '));
  if (credentials?.kind === 'identity-token') {
    form.set('grant_type', 'refresh_token');
    form.set('refresh_token', credentials.password);
  } else if (credentials) {
    form.set('grant_type', 'password');
    form.set('username', credentials.user);
    form.set('password', credentials.password);
  }
  const bytes = Buffer.from(form.toString());
  const headers = { accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' };
  // What the form holds is for this address only.
  return await send({
    method: 'POST',
    url,
    headers,
    body: { size: bytes.length, open: () => bytes },
    redirect: 'manual',
  });
}

function parseToken(body: Uint8Array, where: string): { value: string; lifetimeSec: number } {
  let document: { token?: unknown; access_token?: unknown; expires_in?: unknown } | null = null;
  try {
    document = JSON.parse(Buffer.from(body).toString('utf8'));
  } catch {
    // Not quoted: a broken answer may still hold a token.
  }
  const value = document?.token || document?.access_token;
  // What may stand in a header, and nothing else.
  if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value)) {
    throw new NaiadError('REGISTRY_PROTOCOL', `${where} answered without a token`);
  }
  const said = typeof document?.expires_in === 'number' ? document.expires_in : LIFETIME_SEC_MIN;
  return { value, lifetimeSec: Math.min(Math.max(said, LIFETIME_SEC_MIN), LIFETIME_SEC_MAX) };
}
