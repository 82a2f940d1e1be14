// The innermost exchange: undici, and what its failures mean to a user.
import type { Dispatcher } from 'undici';
import { throwIfAborted } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { REGISTRY_IDLE_TIMEOUT_MS } from '../base/limits.ts';
import { TransientFailure } from '../base/transient.ts';
import { asError, displayUrl, type Exchange, type HttpRequest, type HttpResponse, headersOf } from './exchange.ts';
import type { RangeLane } from './range-lane.ts';
import { ReceivedBody } from './received-body.ts';

/** How what is sent gets to where it goes. */
interface Way {
  /** An answer that does not begin, or stops coming, for so long is a failure. */
  readonly idleMs: number;
  /** To it requests go by their whole address, also those that are for TLS. */
  readonly proxy?: URL | undefined;
}

/**
 * Sends requests as they are: nothing is followed, retried or added but a name of ours. Ranges go by `lane` where there is one and
 * it takes them, all else by `pool`.
 */
export function throughNetwork(
  pool: Dispatcher,
  { idleMs = REGISTRY_IDLE_TIMEOUT_MS, proxy, lane }: Partial<Way> & { readonly lane?: RangeLane | undefined } = {},
): Exchange {
  const way = { pool, proxy, idleMs };
  return async (given) => {
    try {
      throwIfAborted(given.signal);
      const answer = lane?.takes(given) ? await lane.send(given) : undefined;
      if (answer) return answer;
      const request = { ...given, headersTimeoutMs: given.headersTimeoutMs ?? idleMs };
      return await new Promise<HttpResponse>((resolve, reject) => dispatch(way, request, resolve, reject));
    } catch (error) {
      throw networkFailure(error, given);
    }
  };
}

function dispatch(
  { pool, proxy, idleMs }: Way & { readonly pool: Dispatcher },
  request: HttpRequest & { readonly headersTimeoutMs: number },
  resolve: (response: HttpResponse) => void,
  reject: (error: unknown) => void,
): void {
  const { url, signal } = request;
  let control: Dispatcher.DispatchController | undefined;
  let body: ReceivedBody | undefined;
  const onAbort = () => {
    // A request that has no connection yet is not waited for: it is refused as soon as it gets one.
    reject(signal?.reason);
    control?.abort(asError(signal?.reason));
  };
  const onOver = () => signal?.removeEventListener('abort', onAbort);
  signal?.addEventListener('abort', onAbort);
  pool.dispatch(
    {
      ...{
        origin: (proxy ?? url).origin,
        path: proxy ? url.href : `${url.pathname}${url.search}`,
        method: request.method,
        headers: headersOf(request),
      },
      body: request.body ? (request.body.open() as Uint8Array) : null,
      headersTimeout: request.headersTimeoutMs,
      bodyTimeout: idleMs,
    },
    {
      onRequestStart(started) {
        control = started;
        if (signal?.aborted) started.abort(asError(signal.reason));
      },
      onResponseStart(started, status, headers) {
        // 1xx announce another answer.
        if (status < 200) return;
        body = new ReceivedBody(started);
        body.onOver(onOver);
        resolve({ status, headers: (name) => headers[name], url, body });
      },
      onResponseData: (_, piece) => body?.push(piece),
      onResponseEnd: () => body?.end(),
      onResponseError(_, error) {
        onOver();
        body?.end(error);
        reject(error);
      },
    },
  );
}

/** Failures of the moment. */
const TRANSIENT = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'UND_ERR_SOCKET',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
]);

/** Of those, the ones without a connection. */
const UNREACHABLE = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'EAI_AGAIN', 'UND_ERR_CONNECT_TIMEOUT']);

const UNTRUSTED = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER/;

/** What the user can do about a failure, once attempts are used up or when none would help. HOST stands for the registry. */
const HINTS: readonly (readonly [code: RegExp, hint: string])[] = [
  [/^ECONNREFUSED$/, 'Is the registry running, and are host and port right?'],
  [/TIMEDOUT|TIMEOUT|UNREACH/, 'Can this machine reach the host, and is a proxy or firewall in between?'],
  [/^ENOTFOUND$/, 'Is the name spelled right, and does DNS work here?'],
  [
    /^ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG)$|^EPROTO$/,
    'Plain HTTP is used on loopback addresses only, or with --plain-http, or where hosts.toml says http://.',
  ],
  [
    /^ERR_SSL_.*ALERT/,
    'It refused our side of the connection: does it want a client certificate? Name one in /etc/containerd/certs.d/HOST/hosts.toml.',
  ],
  [/^CERT_(NOT_YET_VALID|HAS_EXPIRED)$/, "Is this machine's clock right? If so, the registry needs a new one."],
  [
    UNTRUSTED,
    "Put its authority's certificate into /etc/containerd/certs.d/HOST/ca.crt, or name it in NODE_EXTRA_CA_CERTS.",
  ],
];

/**
 * What a failed request or a broken body means: CANCELED when the caller gave up, TransientFailure when another attempt
 * may work, else a NaiadError. Failures of a request body (a file that cannot be read) come back as they are.
 */
export function networkFailure(error: unknown, request: Pick<HttpRequest, 'url' | 'method' | 'signal'>): Error {
  if (request.signal?.aborted) {
    try {
      throwIfAborted(request.signal);
    } catch (reason) {
      return reason as Error;
    }
  }
  if (error instanceof NaiadError || error instanceof TransientFailure) return error;
  const { code, syscall } = error as NodeJS.ErrnoException;
  const where = `${request.method} ${displayUrl(request.url)}`;
  if ((error as Error).name === 'HTTPParserError') {
    return new TransientFailure(
      new NaiadError('REGISTRY_PROTOCOL', `${where}: the answer is no HTTP`, { cause: error }),
    );
  }
  // Not a failure of the network, but of whoever read from it.
  if (typeof code !== 'string') return error as Error;
  if (syscall === 'open' || (syscall === 'read' && code === 'EIO')) return error as Error;
  const hint = HINTS.find(([pattern]) => pattern.test(code))?.[1].replace('HOST', request.url.host);
  const failure = new NaiadError('REGISTRY_UNAVAILABLE', `${where}: ${reasonOf(code)}`, {
    ...(hint ? { hint } : {}),
    cause: error,
  });
  return TRANSIENT.has(code) ? new TransientFailure(failure, undefined, UNREACHABLE.has(code)) : failure;
}

function reasonOf(code: string): string {
  switch (code) {
    case 'ECONNREFUSED':
      return 'connection refused';
    case 'UND_ERR_CONNECT_TIMEOUT':
    case 'ETIMEDOUT':
      return 'no connection in time';
    case 'UND_ERR_HEADERS_TIMEOUT':
      return 'no answer in time';
    case 'UND_ERR_BODY_TIMEOUT':
      return 'the answer stopped coming';
    case 'UND_ERR_HEADERS_OVERFLOW':
      return 'the answer has more headers than anyone needs';
    case 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH':
      return 'the answer is not as long as it says';
    case 'ENOTFOUND':
      return 'no such host';
    case 'EPROTO':
    case 'ERR_SSL_WRONG_VERSION_NUMBER':
    case 'ERR_SSL_PACKET_LENGTH_TOO_LONG':
      return 'it does not speak TLS';
    case 'CERT_NOT_YET_VALID':
    case 'CERT_HAS_EXPIRED':
      return `its certificate is not valid at this time (${code})`;
    default:
      if (UNTRUSTED.test(code)) return `its certificate is not trusted here (${code})`;
      return TRANSIENT.has(code) ? `connection lost (${code})` : code;
  }
}
