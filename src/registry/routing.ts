// Which endpoint answers a request: mirrors in the order they are configured, the registry itself last. One that fails is
// passed over, left alone for a while, and tried again.
import { NaiadError } from '../base/errors.ts';
import { REGISTRY_CONNECT_TIMEOUT_MS } from '../base/limits.ts';
import { TransientFailure } from '../base/transient.ts';
import { apiHost } from '../format/oci/reference.ts';
import { type CredentialSource, findCredentialsIn } from './credentials.ts';
import { dragonflyAddress } from './dragonfly.ts';
import { Endpoint, type EndpointOptions } from './endpoint.ts';
import { discard, type HttpRequest, type HttpResponse } from './exchange.ts';
import type { Capability, HostConfig } from './hosts-file.ts';
import { proxyFor } from './proxy.ts';
import { Secrets } from './redact.ts';
import { isLoopback } from './redirect.ts';
import { speaksTls } from './speaks-tls.ts';

/** How a registry is reached. All but `credentials` can be written down, and read by another process. */
export interface ConnectionOptions {
  readonly credentials?: CredentialSource;
  /** The only file to look for credentials in. */
  readonly authFile?: string | undefined;
  /** The only directory to look for hosts.toml and certificates in. */
  readonly certsDir?: string | undefined;
  /** The registry itself is spoken to without TLS. */
  readonly plainHttp?: boolean | undefined;
  /** Certificates are not checked. */
  readonly insecureSkipVerify?: boolean | undefined;
  /** Where there is no TLS, plain HTTP is spoken. */
  readonly plainHttpFallback?: boolean | undefined;
  /** Address of a Dragonfly daemon that contents of blobs are asked of first: `http://127.0.0.1:4001`. */
  readonly dragonfly?: string | undefined;
}

/** What is asked, and of whom. */
interface Ask {
  /** Below `/v2`, or an address that the registry gave. */
  readonly path: string | URL;
  readonly capability: Capability;
  /** Of the registry itself. */
  readonly fromOrigin?: boolean | undefined;
}

/** What is pushed goes to one place; what is read is asked of those who are well first. */
function orderOf(
  all: readonly Endpoint[],
  first: Endpoint,
  { capability, fromOrigin }: Pick<Ask, 'capability' | 'fromOrigin'>,
): readonly Endpoint[] {
  if (capability === 'push' || all.length === 1) return [first];
  if (fromOrigin) return all.slice(-1);
  return [...all].sort((a, b) => rank(a) - rank(b));
}

export class Routing implements AsyncDisposable {
  readonly #host: string;
  /** In the order they are asked. */
  readonly endpoints: readonly Endpoint[];
  /** All that was sent to one of them and must not be shown. */
  readonly secrets: Secrets;
  readonly #able: Readonly<Record<Capability, readonly Endpoint[]>>;
  readonly #answered = new WeakMap<HttpResponse, Endpoint>();

  private constructor(host: string, endpoints: readonly Endpoint[], secrets: Secrets) {
    this.#host = host;
    this.endpoints = endpoints;
    const able = (capability: Capability) => endpoints.filter((endpoint) => endpoint.can(capability));
    this.#able = { pull: able('pull'), resolve: able('resolve'), push: able('push'), referrers: able('referrers') };
    this.secrets = secrets;
  }

  /**
   * `configs` as `readHosts` gives them. Nothing is sent, but with `plainHttpFallback` the registry is greeted.
   * @throws NaiadError CONFIG_INVALID
   */
  static async open(
    host: string,
    options: ConnectionOptions,
    configs: readonly HostConfig[] | undefined,
  ): Promise<Routing> {
    const secrets = new Secrets();
    const all: readonly (HostConfig | undefined)[] = configs ?? [undefined];
    const opening = all.map(async (config, at) => {
      const endpoint = endpointOptions({ host, options, secrets, config, isLast: at === all.length - 1 });
      const { url } = endpoint;
      const mayBePlain = options.plainHttpFallback && url.protocol === 'https:' && proxyFor(url) === undefined;
      if (mayBePlain && !(await speaksTls(url, REGISTRY_CONNECT_TIMEOUT_MS))) url.protocol = 'http:';
      return await Endpoint.open(endpoint);
    });
    return new Routing(host, await Promise.all(opening), secrets);
  }

  /** The endpoint that gave an answer. */
  of(response: HttpResponse): Endpoint | undefined {
    return this.#answered.get(response);
  }

  /**
   * Sends to the first endpoint that is able and well, or to the one whose address `path` is. A refusal of any but the last
   * is not the answer yet.
   */
  async send({ path, capability, fromOrigin }: Ask, request: (url: URL) => HttpRequest): Promise<HttpResponse> {
    const all = this.#able[capability];
    const [first] = all;
    if (!first) {
      throw new NaiadError('CONFIG_INVALID', `${this.#host}: hosts.toml gives no host the capability "${capability}"`);
    }
    if (path instanceof URL) {
      const owner = all.find(({ url }) => url.origin === path.origin) ?? first;
      return this.#note(await owner.send(request(path)), owner);
    }
    const order = orderOf(all, first, { capability, fromOrigin });
    for (const endpoint of order) {
      const isLast = endpoint === order.at(-1);
      try {
        const asked = request(endpoint.address(path));
        // One that wants to be left alone is passed over, not waited for.
        const response = await endpoint.send(isLast ? asked : { ...asked, whenLimited: 'fail' });
        const isSick = response.status >= 500 || response.status === 429;
        endpoint.isHealthy = !isSick;
        if (isLast || response.status < 400 || response.status === 416) return this.#note(response, endpoint);
        discard(response);
      } catch (error) {
        if (error instanceof TransientFailure) endpoint.isHealthy = false;
        const isFinal = error instanceof NaiadError && (error.kind === 'canceled' || error.kind === 'usage');
        if (isLast || isFinal || !(error instanceof NaiadError || error instanceof TransientFailure)) throw error;
      }
    }
    throw new NaiadError('BUG', 'no endpoint answered, and none failed');
  }

  /** Makes the connections that reading an image needs to whoever is asked first. */
  connectAhead(): void {
    const all = this.#able.resolve;
    const [first] = all;
    if (first) orderOf(all, first, { capability: 'resolve' })[0]?.connectAhead();
  }

  #note(response: HttpResponse, endpoint: Endpoint): HttpResponse {
    this.#answered.set(response, endpoint);
    return response;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.endpoints.map((endpoint) => endpoint[Symbol.asyncDispose]()));
  }
}

/** The trusted first, and of those the well ones. */
function rank(endpoint: Endpoint): number {
  return endpoint.isTrusted ? Number(!endpoint.isHealthy) : 2;
}

interface EndpointPlace {
  readonly host: string;
  readonly options: ConnectionOptions;
  readonly secrets: Secrets;
  readonly config: HostConfig | undefined;
  readonly isLast: boolean;
}

function endpointOptions({ host, options, secrets, config, isLast }: EndpointPlace): EndpointOptions {
  const { plainHttp, insecureSkipVerify = false, authFile, dragonfly } = options;
  const own = new URL(`https://${apiHost(host)}/v2`);
  const hasCertificates =
    config !== undefined && config.url === undefined && config.ca.length + config.client.length > 0;
  if (plainHttp || (isLoopback(own.hostname) && !hasCertificates)) own.protocol = 'http:';
  const url = config?.url ?? own;
  if (isLast && plainHttp) url.protocol = 'http:';
  const credentials = options.credentials ?? findCredentialsIn({ authFile });
  const isMirror = url.host !== own.host && !isLast;
  return {
    ...{ host, url, config, credentials, isMirror, skipVerify: insecureSkipVerify, secrets },
    dragonfly: isLast && dragonfly ? dragonflyAddress(dragonfly) : undefined,
  };
}
