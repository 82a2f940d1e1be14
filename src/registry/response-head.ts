// Answers in HTTP/1.1, for connections that undici does not read: their heads, and where their bodies end.
import type { IncomingHttpHeaders } from 'node:http';
import { KiB } from '../base/units.ts';

export type BodySize = number | 'in chunks' | 'until closed';

export interface ResponseHead {
  readonly status: number;
  /** Names in lowercase; those that come more than once as lists. */
  readonly headers: IncomingHttpHeaders;
  /** Bytes up to the body. */
  readonly size: number;
  /** Bytes of the body, or what tells where it ends. */
  readonly bodySize: BodySize;
  /** Another request may follow on the connection. */
  readonly keepsAlive: boolean;
}

const END = '\r\n\r\n';
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-5]\d\d)(?: [^\r\n\0]*)?$/;
const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*$/;

/** `unfinished` when the end of the head has not come; undefined when it is none that can be relied on. */
export function parseResponseHead(bytes: Buffer): ResponseHead | 'unfinished' | undefined {
  const end = bytes.indexOf(END);
  if (end < 0) return 'unfinished';
  const [first = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n');
  const [, minor, digits] = STATUS_LINE.exec(first) ?? [];
  if (minor === undefined) return undefined;
  const headers: IncomingHttpHeaders = Object.create(null);
  for (const line of lines) {
    const [, name, value] = FIELD.exec(line) ?? [];
    if (name === undefined || value === undefined) return undefined;
    const key = name.toLowerCase();
    const before = headers[key];
    headers[key] = before === undefined ? value : [before, value].flat();
  }
  const bodySize = bodySizeOf(Number(digits), headers);
  if (bodySize === undefined) return undefined;
  const connection = String(headers.connection ?? '').toLowerCase();
  return {
    status: Number(digits),
    headers,
    size: end + END.length,
    bodySize,
    keepsAlive: minor === '1' ? !/\bclose\b/.test(connection) : /\bkeep-alive\b/.test(connection),
  };
}

/** Undefined when more than one thing says where it ends, which is how answers are smuggled, or when what says so is unknown. */
function bodySizeOf(status: number, headers: IncomingHttpHeaders): BodySize | undefined {
  if (status < 200 || status === 204 || status === 304) return 0;
  const size = headers['content-length'];
  const coding = headers['transfer-encoding'];
  if (coding !== undefined) return size === undefined && /^chunked$/i.test(String(coding)) ? 'in chunks' : undefined;
  if (size === undefined) return 'until closed';
  return typeof size === 'string' && /^\d{1,15}$/.test(size) ? Number(size) : undefined;
}

/** Longer ones are no line of a body in chunks. */
const LINE_LENGTH_MAX = 4 * KiB;
const TRAILERS_MAX = 100;

/** Takes a body in chunks apart. */
export class ChunkedBody {
  #state: 'size' | 'data' | 'behind data' | 'trailers' = 'size';
  #line = '';
  #left = 0;
  #trailers = 0;

  /** Gives what is data to `onData`. `wrong` when it is no such body, or goes on behind its end. */
  take(bytes: Buffer, onData: (data: Buffer) => void): 'more' | 'over' | 'wrong' {
    for (let at = 0; at < bytes.length; ) {
      if (this.#state === 'data') {
        const data = bytes.subarray(at, at + this.#left);
        at += data.length;
        this.#left -= data.length;
        if (this.#left === 0) this.#state = 'behind data';
        onData(data);
        continue;
      }
      const end = bytes.indexOf(LINE_FEED, at);
      this.#line += bytes.toString('latin1', at, end < 0 ? bytes.length : end);
      if (this.#line.length > LINE_LENGTH_MAX) return 'wrong';
      if (end < 0) return 'more';
      at = end + 1;
      const line = this.#line;
      this.#line = '';
      const next = line.endsWith('\r') ? this.#takeLine(line.slice(0, -1)) : 'wrong';
      if (next === 'over') return at === bytes.length ? 'over' : 'wrong';
      if (next === 'wrong') return 'wrong';
    }
    return 'more';
  }

  #takeLine(line: string): 'more' | 'over' | 'wrong' {
    if (this.#state === 'trailers') {
      if (line === '') return 'over';
      return ++this.#trailers > TRAILERS_MAX ? 'wrong' : 'more';
    }
    if (this.#state === 'behind data') {
      this.#state = 'size';
      return line === '' ? 'more' : 'wrong';
    }
    const size = /^([0-9a-f]{1,12})[ \t]*(?:;.*)?$/i.exec(line)?.[1];
    if (size === undefined) return 'wrong';
    this.#left = Number.parseInt(size, 16);
    this.#state = this.#left === 0 ? 'trailers' : 'data';
    return 'more';
  }
}

const LINE_FEED = 10;
