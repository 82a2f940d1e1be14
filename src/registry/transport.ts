// A registry as something to ask: the exchanges of this folder, one around the other.
//   retrying (attempts, deadline) > authenticate > follow redirects > network
import { setMaxListeners } from 'node:events';
import { Agent } from 'undici';
import type { Code } from '../base/errors.ts';
import {
  REGISTRY_CONNECT_TIMEOUT_MS,
  REGISTRY_CONNECTIONS_MAX,
  REGISTRY_RATE_MIN,
  REGISTRY_READ_DEADLINE_MS,
} from '../base/limits.ts';
import { apiHost } from '../format/oci/reference.ts';
import { type RefusalContext, refusal } from './api-errors.ts';
import { Authenticator } from './auth.ts';
import { type CredentialSource, findCredentialsIn } from './credentials.ts';
import { discard, type HttpRequest, type HttpResponse, type Method, type RequestBody } from './exchange.ts';
import { networkFailure, throughNetwork } from './network.ts';
import { Secrets } from './redact.ts';
import { followRedirects, isLoopback } from './redirect.ts';
import { type Extend, retrying } from './retry.ts';
import { type UploadHabits, uploadHabits } from './upload-habits.ts';

/** Everything but `credentials` can be written down, and read by another process. */
export interface RegistryOptions {
  readonly credentials?: CredentialSource;
  /** The only file to look for credentials in. */
  readonly authFile?: string | undefined;
  /** For reads and manifests. */
  readonly deadlineMs?: number;
  readonly attemptsMax?: number;
  /** First pause between attempts. */
  readonly retryDelayMs?: number;
}

/** What one registry was asked so far. */
export interface RegistryStats {
  requests: number;
  retries: number;
  /** Body bytes of manifests and blobs that were read. */
  bytesReceived: number;
  bytesSent: number;
  /** Ranged requests that were answered with a whole blob. */
  rangesIgnored: number;
}

/** One thing to ask of a registry. */
export interface Call {
  readonly method: Method;
  /** Below the registry's origin, or an address it gave us. */
  readonly path: string | URL;
  /** Empty for what concerns the registry as a whole. */
  readonly repository: string;
  readonly actions: 'pull' | 'pull,push' | 'delete';
  /** Another repository that is read from (a mount). */
  readonly alsoPulls?: string;
  /** In words, for errors: `manifest of a:1`. */
  readonly what: string;
  /** The code of a 404. */
  readonly notFound: Code;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: RequestBody;
  readonly redirect?: 'manual';
  readonly headersTimeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

export class Registry implements AsyncDisposable {
  /** As references name it. */
  readonly host: string;
  readonly stats: RegistryStats = { requests: 0, retries: 0, bytesReceived: 0, bytesSent: 0, rangesIgnored: 0 };
  readonly origin: URL;
  readonly secrets = new Secrets();
  /** How blobs are pushed here; learned from answers. */
  readonly uploadHabits: UploadHabits;
  readonly #agent: Agent;
  readonly #authenticator: Authenticator;
  readonly #options: RegistryOptions;

  /** Plain HTTP on loopback, HTTPS elsewhere. Nothing is sent yet. */
  constructor(host: string, options: RegistryOptions = {}) {
    this.host = host;
    this.#options = options;
    this.uploadHabits = uploadHabits(host);
    const address = new URL(`https://${apiHost(host)}`);
    this.origin = isLoopback(address.hostname) ? new URL(`http://${apiHost(host)}`) : address;
    this.#agent = new Agent({
      connections: REGISTRY_CONNECTIONS_MAX,
      connect: { timeout: REGISTRY_CONNECT_TIMEOUT_MS },
      keepAliveTimeout: 30_000,
    });
    const network = throughNetwork(this.#agent);
    const send = followRedirects((request) => {
      this.stats.requests++;
      return network(request);
    });
    this.#authenticator = new Authenticator({
      host,
      origin: this.origin,
      credentials: options.credentials ?? findCredentialsIn({ authFile: options.authFile }),
      secrets: this.secrets,
      send,
    });
  }

  /** One attempt: the answer, whatever its status. Failures of the network are TransientFailure or NaiadError. */
  async send(call: Call): Promise<HttpResponse> {
    expectListeners(call.signal);
    const request: HttpRequest = {
      method: call.method,
      url: new URL(call.path, this.origin),
      headers: call.headers ?? {},
      scope: scopeOf(call),
      signal: call.signal,
      ...(call.body ? { body: call.body } : {}),
      ...(call.redirect ? { redirect: call.redirect } : {}),
      ...(call.headersTimeoutMs ? { headersTimeoutMs: call.headersTimeoutMs } : {}),
    };
    return await this.#authenticator.exchange(request);
  }

  /** One attempt that must end in one of `statuses`; other answers are thrown as the error they mean. */
  async expect(call: Call, statuses: readonly number[]): Promise<HttpResponse> {
    const response = await this.send(call);
    if (statuses.includes(response.status)) return response;
    throw await refusal(response, this.#context(call));
  }

  /**
   * Asks, with attempts and the deadline of a read, until `consume` has made a result of the answer. It tells
   * `onBytes` what has arrived, so that a slow line gets the time it needs.
   */
  async ask<T>(
    call: Call,
    statuses: readonly number[],
    consume: (response: HttpResponse, onBytes: (count: number) => void) => Promise<T>,
  ): Promise<T> {
    const deadlineMs = this.#options.deadlineMs ?? REGISTRY_READ_DEADLINE_MS;
    return await this.retry(call, deadlineMs, async (signal, _, extend) => {
      const response = await this.expect({ ...call, signal }, statuses);
      try {
        return await consume(response, (count) => extend((count / REGISTRY_RATE_MIN) * 1000));
      } catch (error) {
        throw networkFailure(error, { method: call.method, url: response.url, signal });
      } finally {
        discard(response);
      }
    });
  }

  /** Attempts under this registry's policy. `deadlineMs` undefined: no bound but the attempts. */
  async retry<T>(
    call: Pick<Call, 'what' | 'signal'>,
    deadlineMs: number | undefined,
    attempt: (signal: AbortSignal | undefined, number: number, extend: Extend) => Promise<T>,
  ): Promise<T> {
    const { attemptsMax, retryDelayMs } = this.#options;
    expectListeners(call.signal);
    return await retrying(
      {
        what: `${call.what} at ${this.host}`,
        signal: call.signal,
        deadlineMs,
        ...(attemptsMax ? { attemptsMax } : {}),
        ...(retryDelayMs ? { delayMs: retryDelayMs } : {}),
        onRetry: () => this.stats.retries++,
      },
      attempt,
    );
  }

  /** What an unexpected answer means. */
  async refusal(response: HttpResponse, call: Call): Promise<Error> {
    return await refusal(response, this.#context(call));
  }

  #context(call: Call): RefusalContext {
    const scope = scopeOf(call);
    return {
      what: call.what,
      host: this.host,
      origin: this.origin,
      notFound: call.notFound,
      secrets: this.secrets,
      authentication: () => this.#authenticator.describe(scope),
    };
  }

  /** Ends idle connections at once and running requests with an error. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy();
  }
}

function scopeOf({ repository, actions, alsoPulls }: Call): string | undefined {
  const also = alsoPulls === undefined ? '' : ` repository:${alsoPulls}:pull`;
  return repository === '' ? undefined : `repository:${repository}:${actions}${also}`;
}

/** Many requests at once listen to one signal, and all of them stop doing so: no leak to warn of. */
function expectListeners(signal: AbortSignal | undefined): void {
  if (signal) setMaxListeners(0, signal);
}
