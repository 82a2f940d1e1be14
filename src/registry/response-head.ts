// Answers in HTTP/1.1, for connections that undici does not read: their heads, and where their bodies end.
import { KiB } from '../base/units.ts';
import type { HeaderLookup } from './exchange.ts';

export type BodySize = number | 'in chunks' | 'until closed';

export interface ResponseHead {
  readonly status: number;
  readonly headers: HeaderLookup;
  /** Bytes up to the body. */
  readonly size: number;
  /** Bytes of the body, or what tells where it ends. */
  readonly bodySize: BodySize;
  /** Another request may follow on the connection. */
  readonly keepsAlive: boolean;
}

const END = '\r\n\r\n';
const HEAD = /^HTTP\/1\.([01]) ([1-5]\d\d)(?: [^\r\n\0]*)?((?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*)*)$/;

/** `unfinished` when the end of the head has not come; undefined when it is none that can be relied on. */
export function parseResponseHead(bytes: Buffer): ResponseHead | 'unfinished' | undefined {
  const end = bytes.indexOf(END);
  if (end < 0) return 'unfinished';
  const [, minor, digits, fields] = HEAD.exec(bytes.toString('latin1', 0, end)) ?? [];
  if (fields === undefined) return undefined;
  const headers = lookupIn(fields);
  const bodySize = bodySizeOf(Number(digits), headers);
  if (bodySize === undefined) return undefined;
  const connection = String(headers('connection') ?? '').toLowerCase();
  return {
    status: Number(digits),
    headers,
    size: end + END.length,
    bodySize,
    keepsAlive: minor === '1' ? !/\bclose\b/.test(connection) : /\bkeep-alive\b/.test(connection),
  };
}

/** Few of them are ever asked for, so they are found when they are. Each of `fields` begins with the end of the line before it. */
function lookupIn(fields: string): HeaderLookup {
  const lowercase = fields.toLowerCase();
  return (name) => {
    const mark = `\r\n${name}:`;
    let found: string | string[] | undefined;
    for (let at = lowercase.indexOf(mark); at >= 0; at = lowercase.indexOf(mark, at + mark.length)) {
      const end = fields.indexOf('\r\n', at + mark.length);
      const value = fields.slice(at + mark.length, end < 0 ? undefined : end).trim();
      found = found === undefined ? value : [found, value].flat();
    }
    return found;
  };
}

/** Undefined when more than one thing says where it ends, which is how answers are smuggled, or when what says so is unknown. */
function bodySizeOf(status: number, headers: HeaderLookup): BodySize | undefined {
  if (status < 200 || status === 204 || status === 304) return 0;
  const size = headers('content-length');
  const coding = headers('transfer-encoding');
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
