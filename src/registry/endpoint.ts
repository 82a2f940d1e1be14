// One place that answers for a registry: the registry itself, or a mirror of it. Each has its own connections, certificates
// and tokens, and its own health.
import { readFile } from 'node:fs/promises';
import { rootCertificates } from 'node:tls';
import type { Dispatcher } from 'undici';
import { NaiadError } from '../base/errors.ts';
import {
  MIRROR_DISTRUST_MS,
  MIRROR_REST_MS,
  REGISTRY_CONNECT_TIMEOUT_MS,
  REGISTRY_CONNECTIONS_MAX,
  REGISTRY_ORIGINS_MAX,
} from '../base/limits.ts';
import { Authenticator } from './auth.ts';
import type { CredentialSource } from './credentials.ts';
import { DRAGONFLY_REGISTRY_HEADER, Dragonfly, dragonflyHeaders } from './dragonfly.ts';
import { EarlyConnections } from './early-connections.ts';
import type { Exchange, HttpRequest, HttpResponse } from './exchange.ts';
import type { Capability, HostConfig } from './hosts-file.ts';
import { Agent, ProxyAgent } from './http-client.ts';
import { throughNetwork } from './network.ts';
import { proxyFor } from './proxy.ts';
import { RangeLane } from './range-lane.ts';
import { type Quota, type RateLimit, rateLimitOf } from './rate-limit.ts';
import type { Secrets } from './redact.ts';
import { followRedirects } from './redirect.ts';
import { traceTo, tracing } from './trace.ts';

export interface EndpointOptions {
  /** As references name the registry. */
  readonly host: string;
  /** With the path that stands for `/v2`. */
  readonly url: URL;
  readonly isMirror: boolean;
  readonly config: HostConfig | undefined;
  readonly skipVerify: boolean;
  readonly credentials: CredentialSource;
  readonly secrets: Secrets;
  /** A daemon that is asked for the contents of blobs first. */
  readonly dragonfly: URL | undefined;
}

/** To an origin. */
interface Way {
  /** The endpoint's own, and not one that it redirects to. */
  readonly isOwn: boolean;
  readonly network: Exchange;
  readonly limit: RateLimit;
  /** For ranges; none through a proxy. */
  readonly lane: RangeLane | undefined;
}

/** One for the manifest and then the bootstrap, beside which the config is asked for, and what refers to the image. */
const EARLY_CONNECTIONS = 3;

export class Endpoint implements AsyncDisposable {
  readonly url: URL;
  readonly isMirror: boolean;
  readonly authenticator: Authenticator;
  readonly #options: EndpointOptions;
  readonly #tls: TlsOptions;
  /** To itself, where no proxy is in between. */
  #early: EarlyConnections | undefined;
  readonly #pools = new Map<string, Dispatcher>();
  /** The way to each origin; the one used last is the last one. */
  readonly #ways = new Map<string, Way>();
  readonly #dragonfly: Dragonfly | undefined;
  readonly #say = traceTo();
  /** A blob is asked for range by range. */
  #last: { readonly path: string; readonly url: URL } | undefined;
  #restsUntilMs = 0;
  #distrustedUntilMs = 0;

  private constructor(options: EndpointOptions, tls: TlsOptions) {
    this.#options = options;
    this.#tls = tls;
    this.url = options.url;
    this.isMirror = options.isMirror;
    const { host, url, credentials, secrets, config } = options;
    const own = config?.headers;
    this.#dragonfly = options.dragonfly && new Dragonfly(options.dragonfly);
    // A mirror of Dragonfly passes on what the registry asks, so it is the registry's credentials that it needs.
    const isDragonfly = own !== undefined && DRAGONFLY_REGISTRY_HEADER in own;
    const send: Exchange = (request) => {
      request.onSent?.();
      const way = this.#way(request.url);
      // What is configured for this host, secrets may be among it, is for this host.
      if (!way.isOwn || !own) return way.limit.send(request, way.network);
      const told = isDragonfly && request.urgency ? dragonflyHeaders(request.urgency) : {};
      return way.limit.send({ ...request, headers: { ...told, ...own, ...request.headers } }, way.network);
    };
    this.authenticator = new Authenticator({
      host: options.isMirror && !isDragonfly ? url.host : host,
      origin: new URL(url.origin),
      ping: new URL(`${url.href}/`),
      credentials,
      secrets,
      send: followRedirects(send),
    });
  }

  /** Reads its certificates. @throws NaiadError CONFIG_INVALID */
  static async open(options: EndpointOptions): Promise<Endpoint> {
    return new Endpoint(options, await readTls(options));
  }

  can(capability: Capability): boolean {
    return this.#options.config?.capabilities.includes(capability) ?? true;
  }

  /** False for a while after it failed. */
  get isHealthy(): boolean {
    return performance.now() >= this.#restsUntilMs;
  }

  set isHealthy(healthy: boolean) {
    this.#restsUntilMs = healthy ? 0 : performance.now() + MIRROR_REST_MS;
  }

  /** False for a while after it gave wrong bytes. */
  get isTrusted(): boolean {
    return performance.now() >= this.#distrustedUntilMs;
  }

  /**
   * The bytes of an answer were wrong: others are asked before whoever gave them. True when that one was trusted until now, and there
   * is another, as for mirrors and Dragonfly.
   */
  distrust(response: HttpResponse): boolean {
    const fromDragonfly = this.#dragonfly?.distrust(response);
    if (fromDragonfly !== undefined || !this.isMirror) return fromDragonfly ?? false;
    const before = this.isTrusted;
    this.#distrustedUntilMs = performance.now() + MIRROR_DISTRUST_MS;
    return before;
  }

  /** Hosts that gave wrong bytes lately: its own, or that of Dragonfly. */
  get distrusted(): readonly string[] {
    return [...(this.isTrusted ? [] : [this.url.host]), ...(this.#dragonfly?.distrusted ?? [])];
  }

  /** The address of a path of the API (`/v2/…`) here. A mirror is told which registry is meant. */
  address(path: string): URL {
    if (this.#last?.path === path) return this.#last.url;
    const [name = '', query] = path.split('?');
    const url = new URL(`${this.url.href}${name.replace(/^\/v2(?=\/|$)/, '')}`);
    url.search = query ?? '';
    if (this.isMirror) url.searchParams.set('ns', this.#options.host);
    this.#last = { path, url };
    return url;
  }

  /** What it says may still be asked; undefined where it has not said. */
  get quota(): Quota | undefined {
    return rateLimitOf(this.url).quota;
  }

  send(request: HttpRequest): Promise<HttpResponse> {
    return this.authenticator.exchange(request);
  }

  /**
   * Makes the connections that reading an image needs at once, when it was asked nothing yet: the manifest comes over the first of
   * them, and what is asked for then need not wait for the others.
   */
  connectAhead(): void {
    if (this.#ways.has(this.url.origin)) return;
    const { lane } = this.#way(this.url);
    this.#early?.make(EARLY_CONNECTIONS);
    lane?.connectAhead();
  }

  #way(url: URL): Way {
    const { origin } = url;
    const known = this.#ways.get(origin);
    if (known) this.#ways.delete(origin);
    else this.#forgetOldest();
    const way = known ?? this.#newWay(url);
    this.#ways.set(origin, way);
    return way;
  }

  #forgetOldest(): void {
    const [oldest] = this.#ways;
    if (!oldest || this.#ways.size < REGISTRY_ORIGINS_MAX) return;
    const [origin, { lane }] = oldest;
    this.#ways.delete(origin);
    lane?.destroy();
  }

  #newWay(url: URL): Way {
    const isOwn = url.origin === this.url.origin;
    const proxy = proxyFor(url);
    const tls = isOwn ? this.#tls : { ...this.#tls, cert: [], key: [] };
    const { connectTimeoutMs, ...connect } = tls;
    const lane = proxy ? undefined : new RangeLane(new URL(url.origin), { ...connect, timeout: connectTimeoutMs });
    const direct = throughNetwork(this.#pool(url, tls, proxy), { lane });
    const network = (isOwn && this.#dragonfly?.before(direct)) || direct;
    return { isOwn, network: this.#say ? tracing(network, this.#say) : network, limit: rateLimitOf(url), lane };
  }

  #pool(url: URL, tls: TlsOptions, proxy: URL | undefined): Dispatcher {
    const isOwn = url.origin === this.url.origin;
    const key = `${proxy?.href ?? ''} ${isOwn} ${url.protocol}`;
    const known = this.#pools.get(key);
    if (known) return known;
    const { connectTimeoutMs, ...rest } = tls;
    const connect = { ...rest, timeout: connectTimeoutMs, allowH2: false };
    if (isOwn && !proxy) this.#early = new EarlyConnections(new URL(url.origin), connect);
    // Not HTTP/2: docs/decisions/0006-http-1.1.md.
    const common = { connections: REGISTRY_CONNECTIONS_MAX, keepAliveTimeout: 30_000, allowH2: false };
    const pool = proxy
      ? new ProxyAgent({
          ...common,
          ...{ uri: proxy.href, requestTls: connect },
          // Plain requests are asked of the proxy itself, which may keep what it fetched.
          proxyTunnel: url.protocol === 'https:',
        })
      : new Agent({ ...common, connect: (isOwn && this.#early?.connect) || connect });
    this.#pools.set(key, pool);
    return pool;
  }

  /** Ends idle connections at once and running requests with an error. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const { lane } of this.#ways.values()) lane?.destroy();
    this.#early?.[Symbol.dispose]();
    await Promise.all([...this.#pools.values()].map((pool) => pool.destroy()));
    await this.#dragonfly?.[Symbol.asyncDispose]();
  }
}

interface TlsOptions {
  readonly ca?: string[];
  readonly cert: string[];
  readonly key: string[];
  readonly rejectUnauthorized: boolean;
  readonly connectTimeoutMs: number;
}

async function readTls({ config, skipVerify }: EndpointOptions): Promise<TlsOptions> {
  const read = async (path: string) => {
    try {
      return await readFile(path, 'utf8');
    } catch (error) {
      throw new NaiadError('CONFIG_INVALID', `certificate ${path}: ${(error as NodeJS.ErrnoException).code}`, {
        cause: error,
      });
    }
  };
  const own = await Promise.all((config?.ca ?? []).map(read));
  const pairs = await Promise.all(
    (config?.client ?? []).map(async ({ cert, key }) => [await read(cert), await read(key)]),
  );
  return {
    // Naming one replaces the usual ones, so they are named as well.
    ...(own.length > 0 ? { ca: [...rootCertificates, ...own] } : {}),
    cert: pairs.map(([cert]) => String(cert)),
    key: pairs.map(([, key]) => String(key)),
    rejectUnauthorized: !(skipVerify || config?.skipVerify),
    connectTimeoutMs: config?.dialTimeoutMs ?? REGISTRY_CONNECT_TIMEOUT_MS,
  };
}
