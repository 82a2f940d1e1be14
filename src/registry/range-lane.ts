// Ranges of blobs from one origin, over connections of their own: the reads of a mount, which are nearly all that a registry is asked.
// Answers whose end is not told beforehand, and all else that is out of the ordinary, are left to undici: docs/decisions/0007-ranges.md.
import { deferred, unlessAborted } from '../base/concurrency.ts';
import { REGISTRY_CONNECTIONS_MAX, REGISTRY_IDLE_TIMEOUT_MS } from '../base/limits.ts';
import type { ConnectOptions } from './connect.ts';
import { asError, type HttpRequest, type HttpResponse, headersOf } from './exchange.ts';
import { errors } from './http-client.ts';
import { RangeConnection } from './range-connection.ts';

/** An origin that gives so many answers that are left to undici is not asked this way any more. */
const DECLINED_MAX = 3;
/** What may be in the value of a header. Of what may not, undici says what is wrong with it. */
const UNSENDABLE = /[^\t\x20-\x7e\x80-\xff]/;
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** Those that say how a request is sent: written here, or not at all. */
const FRAMING = new Set(['host', 'connection', 'content-length', 'transfer-encoding', 'expect', 'upgrade']);

export class RangeLane {
  readonly #origin: URL;
  readonly #connect: ConnectOptions;
  readonly #idleMs: number;
  readonly #all = new Set<RangeConnection>();
  readonly #free: RangeConnection[] = [];
  /** Connections that are not open yet. */
  #opening = 0;
  readonly #waiting: (() => void)[] = [];
  #declined = 0;
  #closed = false;

  constructor(origin: URL, connect: ConnectOptions, idleMs = REGISTRY_IDLE_TIMEOUT_MS) {
    this.#origin = origin;
    this.#connect = connect;
    this.#idleMs = idleMs;
  }

  /** A request for a range, in the ordinary way, of a host that answers such ones. */
  takes({ method, headers, body, headersTimeoutMs }: HttpRequest): boolean {
    const isPlain = method === 'GET' && headers.range !== undefined && !body && headersTimeoutMs === undefined;
    return isPlain && !this.#closed && this.#declined < DECLINED_MAX;
  }

  /** Undefined when the answer is not understood here: it is to be asked for the other way. @throws what the network says */
  async send(request: HttpRequest): Promise<HttpResponse | undefined> {
    const head = headOf(request);
    if (head === undefined) return undefined;
    for (;;) {
      const connection = this.#pickFree() ?? (await this.#connection(request.signal));
      if (request.signal?.aborted) {
        this.#release(connection);
        throw asError(request.signal.reason);
      }
      try {
        const answer = await connection.ask(head, request);
        if (!answer) this.#declined++;
        return answer;
      } catch (error) {
        // It was closed while nobody used it; another one knows better.
        const isEnded = request.signal?.aborted || this.#closed || error instanceof errors.HeadersTimeoutError;
        if (isEnded || !connection.mayBeStale) throw error;
      }
    }
  }

  /** Opens a connection for a request that is known to follow, which finds out by itself where that fails. */
  connectAhead(): void {
    if (this.#closed || this.#all.size + this.#opening > 0) return;
    this.#open().then(
      (early) => this.#release(early),
      () => {},
    );
  }

  #pickFree(): RangeConnection | undefined {
    for (;;) {
      const free = this.#free.pop();
      if (!free || free.isOpen) return free;
    }
  }

  /** One that is free, or a new one, or when there are too many the next that gets free. */
  async #connection(signal: AbortSignal | undefined): Promise<RangeConnection> {
    for (;;) {
      const free = this.#pickFree();
      if (free) return free;
      if (this.#all.size + this.#opening < REGISTRY_CONNECTIONS_MAX) {
        return await this.#wait(this.#open(), signal, (late) => this.#release(late));
      }
      await this.#wait(this.#turn(), signal, () => this.#wake());
    }
  }

  /** What comes after the caller has given up goes to `onLate`. */
  async #wait<T>(work: Promise<T>, signal: AbortSignal | undefined, onLate: (late: T) => void): Promise<T> {
    try {
      return await unlessAborted(work, signal);
    } catch (error) {
      work.then(onLate, () => {});
      throw error;
    }
  }

  #turn(): Promise<void> {
    const { promise, resolve } = deferred<void>();
    this.#waiting.push(resolve);
    return promise;
  }

  #wake(): void {
    this.#waiting.shift()?.();
  }

  #release(connection: RangeConnection): void {
    this.#free.push(connection);
    this.#wake();
  }

  async #open(): Promise<RangeConnection> {
    this.#opening++;
    try {
      const connection = await RangeConnection.open({
        ...{ origin: this.#origin, connect: this.#connect, idleMs: this.#idleMs },
        onFree: (freed) => this.#release(freed),
        onLost: (lost) => {
          this.#all.delete(lost);
          this.#wake();
        },
      });
      if (connection.isOpen) this.#all.add(connection);
      if (this.#closed) connection.destroy();
      return connection;
    } catch (error) {
      // Who waits finds out by themselves.
      this.#wake();
      throw error;
    } finally {
      this.#opening--;
    }
  }

  /** Ends all connections, running requests with an error. */
  destroy(): void {
    this.#closed = true;
    for (const connection of this.#all) connection.destroy(new errors.ClientDestroyedError());
  }
}

/** Undefined where it cannot be sent. */
function headOf(request: HttpRequest): string | undefined {
  const { url } = request;
  let head = `GET ${url.pathname}${url.search} HTTP/1.1\r\nhost: ${url.host}\r\nconnection: keep-alive\r\n`;
  const headers = headersOf(request);
  for (const name in headers) {
    const value = headers[name] as string;
    if (UNSENDABLE.test(value) || !NAME.test(name) || FRAMING.has(name.toLowerCase())) return undefined;
    head += `${name}: ${value}\r\n`;
  }
  return `${head}\r\n`;
}
