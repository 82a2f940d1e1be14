// The token flow of distribution: GET realm?service=…&scope=… with Basic credentials or none.
import { NaiadError } from '../base/errors.ts';
import { ERROR_BODY_SIZE_MAX } from '../base/limits.ts';
import { retryAfterMs } from './api-errors.ts';
import { basicAuthorization, type Credentials } from './credentials.ts';
import { discard, type Exchange, readBody, TransientFailure } from './exchange.ts';
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

/** @throws NaiadError ACCESS_DENIED, REGISTRY_PROTOCOL; TransientFailure */
export async function fetchToken(request: TokenRequest, send: Exchange, clock: () => number): Promise<Token> {
  const url = tokenUrl(request);
  const { credentials, secrets, host } = request;
  const askedAt = clock();
  const response = await send({
    method: 'GET',
    url,
    headers: {
      accept: 'application/json',
      ...(credentials ? { authorization: basicAuthorization(credentials) } : {}),
    },
    // Shared by all who wait for this token, so none of their signals ends it; undici's timeouts do.
  });
  const where = `token service ${url.host} of ${host}`;
  if (response.status === 401 || response.status === 403) {
    discard(response);
    const who = credentials
      ? `refused the credentials of ${JSON.stringify(credentials.user)} from ${credentials.source}`
      : 'gives no token without credentials';
    throw new NaiadError('ACCESS_DENIED', `${where} ${who} (status ${response.status})`, {
      hint: `Log in again: docker login ${host} (or podman login ${host}).`,
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

function tokenUrl(request: TokenRequest): URL {
  const { host, origin, realm, service, scopes, credentials } = request;
  if (realm === undefined) throw new NaiadError('REGISTRY_PROTOCOL', `${host}: its Bearer challenge names no realm`);
  const url = resolveTarget(origin, realm, 'its token service points');
  if (service !== undefined) url.searchParams.set('service', service);
  for (const scope of scopes) url.searchParams.append('scope', scope);
  if (credentials) url.searchParams.set('account', credentials.user);
  return url;
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
