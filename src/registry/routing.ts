// Which endpoint answers a request: mirrors in the order they are configured, the registry itself last. One that fails is
// passed over, left alone for a while, and tried again.
import { NaiadError } from '../base/errors.ts';
import { TransientFailure } from '../base/transient.ts';
import { apiHost } from '../format/oci/reference.ts';
import { type CredentialSource, findCredentialsIn } from './credentials.ts';
import { Endpoint, type EndpointOptions } from './endpoint.ts';
import { discard, type HttpRequest, type HttpResponse } from './exchange.ts';
import { type Capability, type HostConfig, readHosts } from './hosts-file.ts';
import type { Secrets } from './redact.ts';
import { isLoopback } from './redirect.ts';

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
}

export class Routing implements AsyncDisposable {
  readonly #host: string;
  readonly #options: ConnectionOptions;
  readonly #secrets: Secrets;
  readonly #onRequest: () => void;
  #endpoints: Promise<readonly Endpoint[]> | undefined;
  readonly #answered = new WeakMap<HttpResponse, Endpoint>();

  constructor(host: string, options: ConnectionOptions, secrets: Secrets, onRequest: () => void) {
    this.#host = host;
    this.#options = options;
    this.#secrets = secrets;
    this.#onRequest = onRequest;
  }

  /** In the order they are asked. @throws NaiadError CONFIG_INVALID */
  async endpoints(): Promise<readonly Endpoint[]> {
    this.#endpoints ??= this.#open();
    return await this.#endpoints;
  }

  async #open(): Promise<readonly Endpoint[]> {
    const { certsDir, credentials, authFile } = this.#options;
    const configs: readonly (HostConfig | undefined)[] = (await readHosts(this.#host, { certsDir })) ?? [undefined];
    const source = credentials ?? findCredentialsIn({ authFile });
    return await Promise.all(
      configs.map(async (config, at) => await Endpoint.open(this.#endpoint(config, at, configs.length, source))),
    );
  }

  #endpoint(config: HostConfig | undefined, at: number, count: number, credentials: CredentialSource): EndpointOptions {
    const { plainHttp, insecureSkipVerify = false } = this.#options;
    const own = new URL(`https://${apiHost(this.#host)}/v2`);
    const hasCertificates =
      config !== undefined && config.url === undefined && config.ca.length + config.client.length > 0;
    if (plainHttp || (isLoopback(own.hostname) && !hasCertificates)) own.protocol = 'http:';
    const isLast = at === count - 1;
    const url = config?.url ?? own;
    if (isLast && plainHttp) url.protocol = 'http:';
    return {
      ...{ host: this.#host, url, config, credentials, isMirror: url.host !== own.host && !isLast },
      ...{ skipVerify: insecureSkipVerify, secrets: this.#secrets, onRequest: this.#onRequest },
    };
  }

  /** The endpoint that gave an answer. */
  of(response: HttpResponse): Endpoint | undefined {
    return this.#answered.get(response);
  }

  /**
   * Sends to the first endpoint that is able and well, or to the one whose address `path` is. A refusal of any but the last
   * is not the answer yet.
   */
  async send(path: string | URL, capability: Capability, request: (url: URL) => HttpRequest): Promise<HttpResponse> {
    const all = (await this.endpoints()).filter((endpoint) => endpoint.can(capability));
    const [first] = all;
    if (!first) {
      throw new NaiadError('CONFIG_INVALID', `${this.#host}: hosts.toml gives no host the capability "${capability}"`);
    }
    if (path instanceof URL) {
      const owner = all.find(({ url }) => url.origin === path.origin) ?? first;
      return this.#note(await owner.send(request(path)), owner);
    }
    // What is pushed goes to one place.
    const order = capability === 'push' ? [first] : [...all].sort((a, b) => Number(b.isHealthy) - Number(a.isHealthy));
    for (const [at, endpoint] of order.entries()) {
      const isLast = at === order.length - 1;
      try {
        const response = await endpoint.send(request(endpoint.address(path)));
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

  #note(response: HttpResponse, endpoint: Endpoint): HttpResponse {
    this.#answered.set(response, endpoint);
    return response;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const endpoints = await this.#endpoints?.catch(() => []);
    await Promise.all((endpoints ?? []).map((endpoint) => endpoint[Symbol.asyncDispose]()));
  }
}
