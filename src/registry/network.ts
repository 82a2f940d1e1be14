// The innermost exchange: undici, and what its failures mean to a user.
import { type Dispatcher, request as undiciRequest } from 'undici';
import { throwIfAborted } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { REGISTRY_IDLE_TIMEOUT_MS } from '../base/limits.ts';
import { TransientFailure } from '../base/transient.ts';
import { KiB } from '../base/units.ts';
import { displayUrl, type Exchange, type HttpRequest } from './exchange.ts';

/** A longer rest costs more than a new connection. */
const REST_SIZE_MAX = 64 * KiB;

/** Sends requests as they are: nothing is followed, retried or added but a name of ours. */
export function throughNetwork(pool: Dispatcher): Exchange {
  return async (request) => {
    try {
      const answer = await undiciRequest(request.url, {
        dispatcher: pool,
        method: request.method,
        headers: headersOf(request),
        body: request.body ? (request.body.open() as Uint8Array) : null,
        signal: request.signal ?? null,
        headersTimeout: request.headersTimeoutMs ?? REGISTRY_IDLE_TIMEOUT_MS,
        bodyTimeout: REGISTRY_IDLE_TIMEOUT_MS,
      });
      // A body that is given up reports its own end as an error; whoever reads it gets errors from the reading.
      answer.body.on('error', () => {});
      return {
        status: answer.statusCode,
        headers: answer.headers,
        body: answer.body,
        url: request.url,
        drop: () => void answer.body.dump({ limit: REST_SIZE_MAX }).catch(() => {}),
      };
    } catch (error) {
      throw networkFailure(error, request);
    }
  };
}

function headersOf(request: HttpRequest): Record<string, string> {
  return {
    'user-agent': 'naiad',
    'accept-encoding': 'identity',
    ...request.headers,
    ...(request.body ? { 'content-length': String(request.body.size) } : {}),
  };
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

/** What the user can do about a failure, once attempts are used up or when none would help. */
const HINTS: readonly (readonly [code: RegExp, hint: string])[] = [
  [/^ECONNREFUSED$/, 'Is the registry running, and are host and port right?'],
  [/TIMEDOUT|TIMEOUT|UNREACH/, 'Can this machine reach the host, and is a proxy or firewall in between?'],
  [/^ENOTFOUND$/, 'No such host: is the name spelled right, and does DNS work here?'],
  [
    /^ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG)$|^EPROTO$/,
    'It does not speak TLS: plain HTTP is used on loopback addresses only, or with --plain-http, or where hosts.toml says http://.',
  ],
  [
    /^ERR_SSL_.*ALERT/,
    'It refused our side of the connection: does it want a client certificate? Name one in certs.d/HOST/hosts.toml.',
  ],
  [
    /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER/,
    "Its certificate is not trusted here; put its authority's certificate into certs.d/HOST/ca.crt, or name it in NODE_EXTRA_CA_CERTS.",
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
  const hint = HINTS.find(([pattern]) => pattern.test(code))?.[1];
  const failure = new NaiadError('REGISTRY_UNAVAILABLE', `${where}: ${reasonOf(code)}`, {
    ...(hint ? { hint } : {}),
    cause: error,
  });
  return TRANSIENT.has(code) ? new TransientFailure(failure) : failure;
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
    case 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH':
      return 'the answer is not as long as it says';
    default:
      return TRANSIENT.has(code) ? `connection lost (${code})` : code;
  }
}
