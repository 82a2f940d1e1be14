// One HTTP request and its answer, as every layer of the registry client sees it. Authentication, redirects and the
// network itself are each an `Exchange`; the outer ones call the inner ones.
import { NaiadError } from '../base/errors.ts';
import { KiB } from '../base/units.ts';

export type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** A body that can be sent again: `open` is called for every attempt. */
export interface RequestBody {
  /** Bytes; always announced, because some registries refuse bodies of unknown length. */
  readonly size: number;
  open(): Uint8Array | AsyncIterable<Uint8Array>;
}

/** Whether somebody waits for the contents of a blob. */
export type Urgency = 'waited for' | 'background';

export interface HttpRequest {
  readonly method: Method;
  readonly url: URL;
  /** Names in lowercase. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: RequestBody | undefined;
  readonly signal?: AbortSignal | undefined;
  /** What a token must allow: `repository:library/debian:pull`. */
  readonly scope?: string | undefined;
  /** `manual` returns a 3xx as it is. */
  readonly redirect?: 'manual' | undefined;
  /** What to do while the host wants to be left alone, other than to wait. */
  readonly whenLimited?: 'fail' | undefined;
  /** Called for every request that leaves because of this one. */
  readonly onSent?: (() => void) | undefined;
  /** Of the contents of a blob, which Dragonfly may bring; undefined for all else, and where it must not. */
  readonly urgency?: Urgency | undefined;
  /** How long the first byte of the answer may take once the request is sent. */
  readonly headersTimeoutMs?: number | undefined;
}

/** Value of a header by its name in lowercase; all its values where it came more than once. */
export type HeaderLookup = (name: string) => string | string[] | undefined;

export interface HttpResponse {
  readonly status: number;
  readonly headers: HeaderLookup;
  /** Read it whole or `discard` it, else its connection stays taken. */
  readonly body: ResponseBody;
  /** What answered: differs from the request's after a redirect. */
  readonly url: URL;
}

/** For one reader. Leaving the loop ends the connection, unless all has come. */
export interface ResponseBody extends AsyncIterable<Uint8Array> {
  /** Nothing more comes: it has ended, broken off, or was given up. */
  readonly isOver: boolean;
  /** It ended before all had come, and not because it was given up. */
  readonly isBroken: boolean;
  /** Bytes so far. */
  readonly received: number;
  /** Calls when it is over; at once when it is already. */
  onOver(listener: () => void): void;
  /** Gives it up, and its connection with it. */
  destroy(): void;
  /** Gives it up, but reads a rest of at most `sizeMax` bytes, so that the connection can be used again. */
  drop(sizeMax: number): void;
}

export type Exchange = (request: HttpRequest) => Promise<HttpResponse>;

/** The one value of a header; undefined when it is absent. */
export function headerOf(response: HttpResponse, name: string): string | undefined {
  const value = response.headers(name);
  return Array.isArray(value) ? value[0] : value;
}

/** `Retry-After` in milliseconds, from seconds or an HTTP date. */
export function retryAfterMs(response: HttpResponse): number | undefined {
  const value = headerOf(response, 'retry-after')?.trim();
  if (value === undefined || value === '') return undefined;
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}

/** A longer rest costs more than a new connection. */
const REST_SIZE_MAX = 64 * KiB;

/** Gives an answer up without looking at its body, or at the rest of it. */
export function discard(response: HttpResponse): void {
  if (!response.body.isOver) response.body.drop(REST_SIZE_MAX);
}

/**
 * A whole body in memory.
 * @throws NaiadError LIMIT_EXCEEDED when it has more than `sizeMax` bytes; no more than that is ever held.
 */
export async function readBody(response: HttpResponse, sizeMax: number, what: string): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  // Leaving the loop early destroys the body.
  for await (const piece of response.body) {
    size += piece.length;
    if (size > sizeMax) throw new NaiadError('LIMIT_EXCEEDED', `${what}: more than ${sizeMax} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces, size);
}

/** A URL for messages: signatures and tokens live in queries, passwords before the host. */
export function displayUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}${url.search === '' ? '' : '?…'}`;
}

/** What a signal was aborted with, or that it was. */
export function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new NaiadError('CANCELED', 'interrupted');
}

/** What a request is sent with. */
export function headersOf(request: HttpRequest): Record<string, string> {
  return {
    'user-agent': 'naiad',
    'accept-encoding': 'identity',
    ...request.headers,
    ...(request.body ? { 'content-length': String(request.body.size) } : {}),
  };
}
