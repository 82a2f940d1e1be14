// Dragonfly, which passes blobs from node to node: as a proxy that contents of blobs are asked of first, and as a mirror that
// hosts.toml names. Its answers are only taken when they are what was asked for; else the registry itself is asked.

import { connect } from 'node:net';
import type { Dispatcher } from 'undici';
import { withoutBrackets } from '../base/brackets.ts';
import { NaiadError } from '../base/errors.ts';
import {
  DRAGONFLY_ANSWER_TIMEOUT_MS,
  MIRROR_DISTRUST_MS,
  MIRROR_REST_MS,
  REGISTRY_CONNECT_TIMEOUT_MS,
  REGISTRY_CONNECTIONS_MAX,
} from '../base/limits.ts';
import { discard, type Exchange, type HttpRequest, type HttpResponse, headerOf, type Urgency } from './exchange.ts';
import { Agent } from './http-client.ts';
import { throughNetwork } from './network.ts';
import { isLoopback } from './redirect.ts';

/** The header of a mirror that says which registry is meant; who is sent it knows the others as well. */
export const DRAGONFLY_REGISTRY_HEADER = 'x-dragonfly-registry';

/**
 * Dragonfly's levels say who fetches a blob that no node has yet: at 6 the seed nodes, which all others then have it from,
 * at 3 the node itself, which takes nothing from what others wait for.
 */
const PRIORITIES: Readonly<Record<Urgency, string>> = { 'waited for': '6', background: '3' };

/** What a daemon is told of a request for the contents of a blob. */
export function dragonflyHeaders(urgency: Urgency): Readonly<Record<string, string>> {
  return { 'x-dragonfly-use-p2p': 'true', 'x-dragonfly-priority': PRIORITIES[urgency] };
}

/** @throws NaiadError CONFIG_INVALID */
export function dragonflyAddress(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isBare = url?.protocol === 'http:' && url.pathname === '/' && url.search === '' && url.username === '';
  if (url && isBare && isLoopback(url.hostname)) return url;
  // Not quoted: it may hold a password.
  throw new NaiadError('CONFIG_INVALID', 'the address of Dragonfly is none of a daemon on this machine', {
    hint: 'For example: http://127.0.0.1:4001. Credentials for registries go there unencrypted, so it must be a loopback address.',
  });
}

/** True when something listens there. Asked for anything, a daemon would fetch it from a registry of its own choice. */
export async function dragonflyListens(address: URL): Promise<boolean> {
  const socket = connect({ host: withoutBrackets(address.hostname), port: Number(address.port || 80) });
  socket.setTimeout(REGISTRY_CONNECT_TIMEOUT_MS);
  try {
    return await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('timeout', () => resolve(false));
      socket.once('error', () => resolve(false));
    });
  } finally {
    socket.destroy();
  }
}

export class Dragonfly implements AsyncDisposable {
  readonly #address: URL;
  readonly #pool: Dispatcher = new Agent({ connections: REGISTRY_CONNECTIONS_MAX, keepAliveTimeout: 30_000 });
  #restsUntilMs = 0;
  #distrustedUntilMs = 0;
  /** What it gave that may turn out to be wrong. */
  readonly #given = new WeakSet<HttpResponse>();

  constructor(address: URL) {
    this.#address = address;
  }

  /** Contents of blobs through the daemon while it is well; everything else, and what it does not bring, through `direct`. */
  before(direct: Exchange): Exchange {
    return async (request) => (await this.#ask(request)) ?? (await direct(request));
  }

  async #ask(request: HttpRequest): Promise<HttpResponse | undefined> {
    const { urgency, method, signal } = request;
    if (urgency === undefined || method !== 'GET' || performance.now() < this.#restsUntilMs) return undefined;
    const headers = { ...request.headers, ...dragonflyHeaders(urgency), host: request.url.host };
    const headersTimeoutMs = DRAGONFLY_ANSWER_TIMEOUT_MS;
    let response: HttpResponse;
    try {
      response = await throughNetwork(this.#pool, { proxy: this.#address })({ ...request, headers, headersTimeoutMs });
    } catch (error) {
      if (signal?.aborted) throw error;
      this.#rest();
      return undefined;
    }
    if (isTaken(request, response)) {
      // Nodes that leave break off what they send. Whoever reads asks again, of the registry.
      response.body.onOver(() => {
        if (response.body.isBroken && !signal?.aborted) this.#rest();
      });
      this.#given.add(response);
      return response;
    }
    discard(response);
    // What the registry answered is no trouble of the daemon's.
    if (headerOf(response, 'x-dragonfly-error-type') !== 'backend') this.#rest();
    return undefined;
  }

  /** The bytes of an answer were wrong. True when it was trusted until now; undefined when the answer is not the daemon's. */
  distrust(response: HttpResponse): boolean | undefined {
    if (!this.#given.has(response)) return undefined;
    const before = this.distrusted.length === 0;
    this.#distrustedUntilMs = performance.now() + MIRROR_DISTRUST_MS;
    this.#restsUntilMs = this.#distrustedUntilMs;
    return before;
  }

  /** Its host, when it gave wrong bytes lately. */
  get distrusted(): readonly string[] {
    return performance.now() < this.#distrustedUntilMs ? [this.#address.host] : [];
  }

  #rest(): void {
    this.#restsUntilMs = Math.max(this.#restsUntilMs, performance.now() + MIRROR_REST_MS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.destroy();
  }
}

/** Old daemons answer 200 with the range alone: whose bytes these are cannot be told. */
function isTaken({ headers }: HttpRequest, { status }: HttpResponse): boolean {
  return status === (headers.range === undefined ? 200 : 206);
}
