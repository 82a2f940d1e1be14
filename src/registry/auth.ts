// Who we are, as the registry wants to hear it. Nothing is sent before a challenge asks for it; a token is kept per
// scope until shortly before it ends, or until the registry refuses it.
import { setTimeout as sleep } from 'node:timers/promises';
import { unlessAborted } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { type Challenge, parseChallenges } from './challenge.ts';
import {
  basicAuthorization,
  type CredentialLookup,
  type CredentialSource,
  describeCredentials,
} from './credentials.ts';
import { discard, type Exchange, type HttpRequest, type HttpResponse } from './exchange.ts';
import type { Secrets } from './redact.ts';
import { mergeScopes, repositoryOf } from './scopes.ts';
import { fetchToken, type Token } from './token.ts';

export interface AuthenticatorOptions {
  /** As references name it; what credentials are kept under. */
  readonly host: string;
  /** Of the registry's API. */
  readonly origin: URL;
  /** The address that only says who may come in. */
  readonly ping: URL;
  readonly credentials: CredentialSource;
  readonly secrets: Secrets;
  /** Follows redirects, knows no authentication. */
  readonly send: Exchange;
  /** Milliseconds that only grow; a test turns it. */
  readonly clock?: () => number;
}

/** Tokens count in whole seconds: one that begins a moment after the registry's clock is good a second later. */
const RENEW_PAUSE_MS = 1000;
const INVALID_HINT =
  'Do the clocks of the registry and of its token service agree, and does the registry trust that service?';

export class Authenticator {
  readonly #options: AuthenticatorOptions;
  readonly #clock: () => number;
  readonly #tokens = new Map<string, Token>();
  /** Fetches under way, so that readers that start together ask once. */
  readonly #fetching = new Map<string, Promise<Token>>();
  readonly #lookups = new Map<string, CredentialLookup>();
  /** What the registry asked for beyond what we knew to need, by our own scope. */
  readonly #demanded = new Map<string, string>();
  /** Scopes for which even new tokens were called invalid. */
  readonly #invalid = new Set<string>();
  /** The last challenge: what the next request is sent with, without being asked. */
  #challenge: Challenge | undefined;

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
    this.#clock = options.clock ?? (() => performance.now());
  }

  /** An exchange that answers challenges of the registry (not those of hosts it redirects to). */
  readonly exchange: Exchange = async (request) => {
    const { send, origin } = this.#options;
    // Uploads may point to another host, which our credentials are not for.
    if (request.url.host !== origin.host || request.url.protocol !== origin.protocol) return await send(request);
    const known = this.#challenge && (await this.#authorization(request));
    const first = await send(withAuthorization(request, known));
    if (first.status !== 401 || first.url.origin !== origin.origin) return first;
    const challenge = await this.#challengeAfter(first, known !== undefined, request);
    if (!challenge) return first;
    this.#forget(request.scope, known);
    // A login since the last lookup counts from here on.
    this.#lookups.delete(repositoryOf(request.scope));
    this.#challenge = challenge;
    this.#demand(request.scope, challenge);
    return await this.#sendAnew(request, first);
  };

  /** Sends what was refused with what the challenge asks for; gives `refused` back where there is nothing to send. */
  async #sendAnew(request: HttpRequest, refused: HttpResponse): Promise<HttpResponse> {
    const { send } = this.#options;
    const scope = request.scope ?? '';
    const isBearer = this.#challenge?.scheme === 'bearer';
    const may = { widen: isBearer, renew: isBearer, wait: isBearer };
    for (let last = refused; ; ) {
      const authorization = await this.#authorization(request);
      if (authorization === undefined) return last;
      discard(last);
      last = await send(withAuthorization(request, authorization));
      if (last.status !== 401) {
        this.#invalid.delete(scope);
        return last;
      }
      // A fresh token that is refused: what is wrong is not its age, unless it is too narrow, or is called invalid.
      const why = chooseChallenge(last);
      const isInvalid = why?.parameters.error === 'invalid_token' && this.#tokens.has(scope);
      if (isInvalid && may.wait && !may.renew) {
        // By the registry's clock it may begin a moment later.
        may.wait = false;
        await pause(request.signal);
        continue;
      }
      this.#forget(request.scope, authorization);
      if (may.widen && this.#demand(request.scope, why)) may.widen = false;
      else if (may.renew && isInvalid) {
        // It may have ended on its way.
        may.renew = false;
      } else {
        if (isInvalid) this.#invalid.add(scope);
        return last;
      }
    }
  }

  /** Notes what scopes a registry asks for; true when these are new. */
  #demand(own: string | undefined, challenge: Challenge | undefined): boolean {
    const key = own ?? '';
    const known = this.#demanded.get(key);
    const next = mergeScopes(challenge?.parameters.scope, known).join(' ');
    if (mergeScopes(known, own).join(' ').length === mergeScopes(next, own).join(' ').length) return false;
    this.#demanded.set(key, next);
    return true;
  }

  /** What was asked for; undefined while nothing was. */
  get scheme(): 'basic' | 'bearer' | undefined {
    const scheme = this.#challenge?.scheme;
    return scheme === 'basic' || scheme === 'bearer' ? scheme : undefined;
  }

  /** For messages about a refusal: whether credentials were sent, and from where; what to do. */
  describe(scope: string | undefined): { readonly sent: string; readonly hint: string } {
    const { host } = this.#options;
    const lookup = this.#lookups.get(repositoryOf(scope));
    const sent = lookup?.credentials && `sent: ${describeCredentials(lookup.credentials)}`;
    if (this.#invalid.has(scope ?? '')) {
      return {
        sent: `${sent ? `${sent}; ` : ''}it calls a new token of its token service invalid`,
        hint: INVALID_HINT,
      };
    }
    if (sent) {
      return {
        sent,
        hint: 'Check that this account may do so, or log in again.',
      };
    }
    const looked = lookup?.looked.length ? ` in ${lookup.looked.join(', ')}` : '';
    const why = lookup ? `none for ${host}${looked}` : 'it asked for none';
    const none = `no credentials were sent (${why})`;
    return {
      sent: lookup?.passedOver ? `${none}; ${lookup.passedOver}` : none,
      hint: `${scope?.includes('push') ? 'To push' : 'Does the image exist? If it is private'}: naiad login ${host}`,
    };
  }

  /**
   * What to make of a 401. After a stale token it may name the wrong scheme (Harbor answers Basic then), so the ping
   * without authorization is asked; it is asked too where a request is refused without any challenge.
   */
  async #challengeAfter(
    response: HttpResponse,
    wasSent: boolean,
    { signal, onSent }: HttpRequest,
  ): Promise<Challenge | undefined> {
    const own = chooseChallenge(response);
    if (own && !wasSent) return this.#supported(own);
    const ping = await this.#options.send({
      method: 'GET',
      url: this.#options.ping,
      headers: {},
      signal,
      onSent,
    });
    discard(ping);
    const pinged = ping.status === 401 ? chooseChallenge(ping) : undefined;
    // The scope the registry wants stands in the answer to the request itself; that of a ping is an example (GHCR).
    const best = pinged ? withScope(pinged, own?.parameters.scope) : own;
    return best ? this.#supported(best) : undefined;
  }

  #supported(challenge: Challenge): Challenge {
    if (challenge.scheme === 'bearer' || challenge.scheme === 'basic') return challenge;
    const scheme = this.#options.secrets.clean(challenge.scheme);
    throw new NaiadError('ACCESS_DENIED', `${this.#options.host} asks for ${scheme} authentication`, {
      hint: 'naiad knows Basic and Bearer.',
    });
  }

  async #authorization(request: HttpRequest): Promise<string | undefined> {
    const challenge = this.#challenge;
    if (!challenge) return undefined;
    const { credentials } = await this.#lookUp(repositoryOf(request.scope));
    if (credentials?.kind === 'bearer-token') return `Bearer ${credentials.password}`;
    if (challenge.scheme === 'basic') return credentials ? basicAuthorization(credentials) : undefined;
    const token = await unlessAborted(this.#token(request.scope ?? '', request.onSent), request.signal);
    return `Bearer ${token.value}`;
  }

  async #lookUp(repository: string): Promise<CredentialLookup> {
    const { host, credentials, secrets } = this.#options;
    const found = this.#lookups.get(repository) ?? (await credentials({ host, repository }));
    this.#lookups.set(repository, found);
    if (found.credentials) {
      secrets.add(found.credentials.password);
      if (found.credentials.user) secrets.add(`${found.credentials.user}:${found.credentials.password}`);
    }
    return found;
  }

  async #token(key: string, onSent: HttpRequest['onSent']): Promise<Token> {
    const kept = this.#tokens.get(key);
    if (kept && this.#clock() < kept.renewAt) return kept;
    const fetching = this.#fetching.get(key) ?? this.#fetchToken(key, onSent);
    this.#fetching.set(key, fetching);
    return await fetching;
  }

  async #fetchToken(key: string, onSent: HttpRequest['onSent']): Promise<Token> {
    const { host, origin, secrets, send } = this.#options;
    try {
      const { credentials } = await this.#lookUp(repositoryOf(key));
      const { realm, service } = this.#challenge?.parameters ?? {};
      // Some token servers honour the first scope only, so what the registry asks for comes first.
      const scopes = mergeScopes(this.#demanded.get(key), key);
      const asked = { host, origin, realm, service, scopes, credentials, secrets };
      const token = await fetchToken(asked, (request) => send({ ...request, onSent }), this.#clock);
      this.#tokens.set(key, token);
      return token;
    } finally {
      this.#fetching.delete(key);
    }
  }

  /** Drops a token that was refused, unless another request has replaced it already. */
  #forget(scope: string | undefined, authorization: string | undefined): void {
    const key = scope ?? '';
    if (`Bearer ${this.#tokens.get(key)?.value}` === authorization) this.#tokens.delete(key);
  }
}

async function pause(signal: AbortSignal | undefined): Promise<void> {
  // Whoever gave up is told by what is sent next.
  await sleep(RENEW_PAUSE_MS, undefined, signal ? { signal } : {}).catch(() => undefined);
}

function chooseChallenge(response: HttpResponse): Challenge | undefined {
  const offered = parseChallenges(response.headers('www-authenticate'));
  const named = (scheme: string) => offered.find((challenge) => challenge.scheme === scheme);
  return named('bearer') ?? named('basic') ?? offered[0];
}

function withScope({ scheme, parameters }: Challenge, scope: string | undefined): Challenge {
  const { scope: _, ...others } = parameters;
  return { scheme, parameters: { ...others, ...(scope === undefined ? {} : { scope }) } };
}

function withAuthorization(request: HttpRequest, authorization: string | undefined): HttpRequest {
  return authorization === undefined ? request : { ...request, headers: { ...request.headers, authorization } };
}
