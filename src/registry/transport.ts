// A registry as something to ask: the exchanges of this folder, one around the other.
//   retrying (attempts, deadline) > authenticate > follow redirects > rate limit > trace > network
import { setMaxListeners } from 'node:events';
import { type Code, NaiadError } from '../base/errors.ts';
import { REGISTRY_RATE_MIN, REGISTRY_READ_DEADLINE_MS } from '../base/limits.ts';
import { TransientFailure } from '../base/transient.ts';
import { refusal } from './api-errors.ts';
import { type Connections, ownRouting, type RoutingLease } from './connections.ts';
import { discard, type HttpResponse, type Method, type RequestBody, type Urgency } from './exchange.ts';
import type { Capability } from './hosts-file.ts';
import { networkFailure } from './network.ts';
import type { Quota } from './rate-limit.ts';
import { type Extend, retrying } from './retry.ts';
import type { ConnectionOptions, Routing } from './routing.ts';
import { type UploadHabits, uploadHabits } from './upload-habits.ts';

export interface RegistryOptions extends ConnectionOptions {
  /** Shares connections, tokens and health with all who give the same `identity`: see `Connections`. */
  readonly shared?: { readonly connections: Connections; readonly identity: string } | undefined;
  /** For reads and manifests. */
  readonly deadlineMs?: number;
  readonly attemptsMax?: number;
  /** First pause between attempts. */
  readonly retryDelayMs?: number;
  /** Directory of what registries were found to be like; nothing is kept or known without. */
  readonly knownHosts?: string | undefined;
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
  /** What a mirror must be trusted with; by `actions` when left out. */
  readonly capability?: Capability;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: RequestBody;
  /** Of the contents of a blob. */
  readonly urgency?: Urgency;
  /** Past mirrors and Dragonfly. */
  readonly fromOrigin?: boolean;
  readonly redirect?: 'manual';
  /** `fail` for callers that pause by themselves. */
  readonly whenLimited?: 'fail';
  readonly headersTimeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

export class Registry implements AsyncDisposable {
  /** As references name it. */
  readonly host: string;
  readonly stats: RegistryStats = { requests: 0, retries: 0, bytesReceived: 0, bytesSent: 0, rangesIgnored: 0 };
  /** How blobs are pushed here; learned from answers. */
  readonly uploadHabits: UploadHabits;
  #lease: Promise<RoutingLease> | undefined;
  #routing: Routing | undefined;
  readonly #options: RegistryOptions;

  /**
   * Reached as hosts.toml says; where that says nothing, by plain HTTP on loopback and by HTTPS elsewhere. Nothing is sent
   * or read yet.
   */
  constructor(host: string, options: RegistryOptions = {}) {
    this.host = host;
    this.#options = options;
    this.uploadHabits = uploadHabits(host);
  }

  async #route(): Promise<Routing> {
    const { shared } = this.#options;
    this.#lease ??= shared
      ? shared.connections.lease(this.host, this.#options, shared.identity)
      : ownRouting(this.host, this.#options);
    this.#routing = (await this.#lease).routing;
    return this.#routing;
  }

  /** Makes the connections that reading an image needs, before they are needed. What fails is told to whoever asks next. */
  connectAhead(): void {
    this.#route().then(
      (routing) => routing.connectAhead(),
      () => {},
    );
  }

  /** Who answers for this registry, in the order they are asked. @throws NaiadError CONFIG_INVALID */
  async endpoints(): Promise<readonly { readonly url: URL; readonly isMirror: boolean }[]> {
    return (await this.#route()).endpoints;
  }

  /** True for an answer of the registry itself or a mirror, not of storage that it was redirected to. */
  isOwn({ url }: HttpResponse): boolean {
    const { origin } = url;
    return this.#routing?.endpoints.some((endpoint) => endpoint.url.origin === origin) ?? false;
  }

  /** Within it a read has its result, or later by the time that bytes took to come at the least rate. */
  get readDeadlineMs(): number {
    return this.#options.deadlineMs ?? REGISTRY_READ_DEADLINE_MS;
  }

  /** What the registry asked for so far, of the endpoint that asked first. */
  async authentication(): Promise<'none' | 'basic' | 'bearer'> {
    const schemes = (await this.#route()).endpoints.map(({ authenticator }) => authenticator.scheme);
    return schemes.find((scheme) => scheme !== undefined) ?? 'none';
  }

  /** What the registry says may still be asked; undefined where it has not said. */
  async quota(): Promise<Quota | undefined> {
    return (await this.#route()).endpoints.at(-1)?.quota;
  }

  /** One attempt: the answer, whatever its status. Failures of the network are TransientFailure or NaiadError. */
  async send(call: Call): Promise<HttpResponse> {
    expectListeners(call.signal);
    const capability = call.capability ?? (call.actions === 'pull' ? 'pull' : 'push');
    const onSent = () => {
      this.stats.requests++;
    };
    const { urgency, fromOrigin } = call;
    const routing = this.#routing ?? (await this.#route());
    return await routing.send({ path: call.path, capability, fromOrigin }, (url) => ({
      method: call.method,
      url,
      headers: call.headers ?? {},
      scope: scopeOf(call),
      onSent,
      signal: call.signal,
      body: call.body,
      urgency: fromOrigin ? undefined : urgency,
      redirect: call.redirect,
      whenLimited: call.whenLimited,
      headersTimeoutMs: call.headersTimeoutMs,
    }));
  }

  /** One attempt that must end in one of `statuses`; other answers are thrown as the error they mean. */
  async expect(call: Call, statuses: readonly number[]): Promise<HttpResponse> {
    const response = await this.send(call);
    if (statuses.includes(response.status)) return response;
    throw await this.refusal(response, call);
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
    return await this.retry(call, this.readDeadlineMs, async (signal, _, extend) => {
      const response = await this.expect({ ...call, signal }, statuses);
      try {
        return await consume(response, (count) => extend((count / REGISTRY_RATE_MIN) * 1000));
      } catch (error) {
        const failure = networkFailure(error, { method: call.method, url: response.url, signal });
        const isWrong = failure instanceof NaiadError && failure.kind === 'corrupt';
        if (!isWrong || !this.distrust(response)) throw failure;
        throw new TransientFailure(failure);
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

  /**
   * Says that the bytes of an answer were wrong: a mirror that gave it is asked last for a while. True when that means that the next
   * request goes elsewhere.
   */
  distrust(response: HttpResponse): boolean {
    return this.#routing?.of(response)?.distrust(response) ?? false;
  }

  /** Hosts of mirrors and of Dragonfly that gave wrong bytes lately. */
  get distrusted(): string[] {
    return (this.#routing?.endpoints ?? []).flatMap(({ distrusted }) => distrusted);
  }

  /** What an unexpected answer means. */
  async refusal(response: HttpResponse, call: Call): Promise<Error> {
    const routing = await this.#route();
    const endpoint = routing.of(response);
    const origin = endpoint ? new URL(endpoint.url.origin) : new URL(response.url.origin);
    return await refusal(response, {
      what: call.what,
      host: endpoint?.isMirror ? `${this.host} (mirror ${endpoint.url.host})` : this.host,
      origin,
      notFound: call.notFound,
      secrets: routing.secrets,
      authentication: () =>
        endpoint?.authenticator.describe(scopeOf(call)) ?? { sent: 'nobody was asked', hint: 'Try again.' },
    });
  }

  /** Ends idle connections at once and running requests with an error, unless others share them. */
  async [Symbol.asyncDispose](): Promise<void> {
    const lease = await this.#lease?.catch(() => undefined);
    this.#lease = undefined;
    await lease?.[Symbol.asyncDispose]();
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
