// One connection that ranges of blobs come over, one after the other. What comes is read by the kernel into the memory that it is
// handed on in: nothing is copied but the beginning that came along with the head.
import type { Socket } from 'node:net';
import { takeSlab } from '../base/slabs.ts';
import { KiB } from '../base/units.ts';
import { type ConnectOptions, openSocket } from './connect.ts';
import { asError, type HttpRequest, type HttpResponse } from './exchange.ts';
import { buildConnector, errors } from './http-client.ts';
import { ReceivedBody } from './received-body.ts';
import { ChunkedBody, parseResponseHead, type ResponseHead } from './response-head.ts';

/** As undici has it. */
const HEAD_SIZE_MAX = 16 * KiB;
/** Read before it is known how much there is: most heads, and little beside them. */
const FIRST_READ_SIZE = 4 * KiB;
const NOTHING: Buffer = Buffer.alloc(0);

/** A request that is under way. */
interface Turn {
  readonly request: HttpRequest;
  /** Undefined: what comes is not understood, and the connection is gone. */
  readonly resolve: (answer: HttpResponse | undefined) => void;
  readonly reject: (error: Error) => void;
}

export class RangeConnection {
  readonly #onFree: (connection: RangeConnection) => void;
  readonly #onLost: (connection: RangeConnection) => void;
  #socket: Socket | undefined;
  readonly #idleMs: number;
  readonly #head = Buffer.allocUnsafeSlow(HEAD_SIZE_MAX);
  readonly #firstSpace = this.#head.subarray(0, FIRST_READ_SIZE);
  #headFilled = 0;
  #turn: Turn | undefined;
  #body: ReceivedBody | undefined;
  /** Of the body, not yet come. */
  #left = 0;
  #chunks: ChunkedBody | undefined;
  #slab: Buffer = NOTHING;
  #slabFilled = 0;
  /** Of the slab, as far as it was handed on. */
  #slabHanded = 0;
  #paused = false;
  #keepsAlive = true;
  #answers = 0;

  private constructor(options: RangeConnectionOptions) {
    this.#idleMs = options.idleMs;
    this.#onFree = options.onFree;
    this.#onLost = options.onLost;
  }

  /** @throws what the network says */
  static async open(options: RangeConnectionOptions): Promise<RangeConnection> {
    const connection = new RangeConnection(options);
    const onread = { buffer: () => connection.#space(), callback: (count: number) => connection.#take(count) };
    const connect = buildConnector({ ...options.connect, onread } as ConnectOptions);
    const socket = await openSocket(connect, options.origin);
    connection.#listen(socket);
    return connection;
  }

  #listen(socket: Socket): void {
    this.#socket = socket.unref();
    socket.setTimeout(this.#idleMs);
    socket.on('timeout', () => this.#onTimeout());
    socket.on('error', (error) => this.#lose(error));
    socket.on('end', () => this.#onEnd());
    socket.on('close', () => this.#lose(new errors.SocketError('other side closed')));
    if (socket.destroyed) this.#lose(new errors.SocketError('other side closed'));
  }

  get isOpen(): boolean {
    return this.#socket !== undefined;
  }

  /** It has answered before, and nothing has come since: its end may have crossed what was asked. */
  get mayBeStale(): boolean {
    return this.#answers > 0 && this.#headFilled === 0 && this.#body === undefined;
  }

  /**
   * Sends a GET, whose head this is, while none is under way. Undefined when the answer is one that undici has to read, by asking
   * again. Until the body is over, an abort of the request ends the connection. @throws what the network says
   */
  ask(head: string, request: HttpRequest): Promise<HttpResponse | undefined> {
    return new Promise((resolve, reject) => {
      const socket = this.#socket;
      if (!socket) {
        reject(new errors.SocketError('other side closed'));
        return;
      }
      this.#turn = { request, resolve, reject };
      request.signal?.addEventListener('abort', this.#onAbort);
      socket.ref();
      socket.write(head, 'latin1');
    });
  }

  readonly #onAbort = () => this.destroy(asError(this.#turn?.request.signal?.reason));

  /** Where the next bytes go. */
  #space(): Buffer {
    if (this.#chunks) return this.#head;
    if (this.#left === 0) {
      const filled = this.#headFilled;
      return filled === 0 ? this.#firstSpace : this.#head.subarray(filled, filled + FIRST_READ_SIZE);
    }
    if (this.#slabFilled === this.#slab.length) {
      this.#slab = takeSlab(this.#left);
      this.#slabFilled = 0;
      this.#slabHanded = 0;
    }
    return this.#slabFilled === 0 ? this.#slab : this.#slab.subarray(this.#slabFilled);
  }

  /** So many bytes are where they were to go. False when no more are wanted for now. */
  #take(count: number): boolean {
    if (this.#body && this.#chunks) {
      this.#takeChunks(this.#body, this.#chunks, this.#head.subarray(0, count));
    } else if (this.#body) {
      this.#slabFilled += count;
      this.#handOn(this.#body);
    } else if (this.#turn) {
      this.#headFilled += count;
      this.#takeHead(this.#turn);
    } else {
      this.destroy(new errors.SocketError('bytes that nobody asked for'));
    }
    return !this.#paused;
  }

  #takeHead(turn: Turn): void {
    for (;;) {
      const read = this.#head.subarray(0, this.#headFilled);
      const head = parseResponseHead(read);
      if (head === 'unfinished' && this.#headFilled < HEAD_SIZE_MAX) return;
      if (typeof head !== 'object' || head.status === 101) {
        this.#decline(turn);
        return;
      }
      const rest = read.subarray(head.size);
      if (head.status >= 200) {
        this.#begin(turn, head, rest);
        return;
      }
      // It announces another.
      this.#headFilled = rest.copy(this.#head);
    }
  }

  #begin(turn: Turn, { status, headers, bodySize, keepsAlive }: ResponseHead, rest: Buffer): void {
    if (typeof bodySize === 'number' && rest.length > bodySize) {
      this.#decline(turn);
      return;
    }
    const body = new ReceivedBody({
      pause: () => {
        this.#paused = true;
      },
      resume: () => this.#resume(),
      abort: (reason) => this.destroy(reason),
    });
    this.#body = body;
    this.#keepsAlive = keepsAlive;
    turn.resolve({ status, headers, body, url: turn.request.url });
    if (bodySize === 'in chunks') {
      this.#chunks = new ChunkedBody();
      this.#takeChunks(body, this.#chunks, rest);
      return;
    }
    this.#left = bodySize === 'until closed' ? Number.POSITIVE_INFINITY : bodySize;
    if (this.#left === 0) this.#finish(body);
    else if (rest.length > 0) {
      this.#slabFilled = rest.copy(this.#space());
      // Where the read was full, more is here already: handed on together, as one piece.
      if (this.#headFilled < FIRST_READ_SIZE || rest.length === bodySize) this.#handOn(body);
    }
  }

  #handOn(body: ReceivedBody): void {
    const piece = this.#slab.subarray(this.#slabHanded, this.#slabFilled);
    this.#slabHanded = this.#slabFilled;
    this.#left -= piece.length;
    body.push(piece);
    if (this.#left === 0 && this.#socket) this.#finish(body);
  }

  /** Few answers come like this, and those are short: each piece is copied. */
  #takeChunks(body: ReceivedBody, chunks: ChunkedBody, bytes: Buffer): void {
    const next = chunks.take(bytes, (data) => body.push(Buffer.from(data)));
    if (next === 'wrong') this.destroy(new errors.HTTPParserError('no body in chunks'));
    else if (next === 'over' && this.#socket) this.#finish(body);
  }

  #resume(): void {
    this.#paused = false;
    this.#socket?.setTimeout(this.#idleMs);
    this.#socket?.resume();
  }

  #finish(body: ReceivedBody): void {
    this.#answers++;
    this.#reset();
    body.end();
    if (this.#keepsAlive) {
      this.#socket?.unref();
      this.#onFree(this);
    } else this.destroy();
  }

  #reset(): void {
    this.#turn?.request.signal?.removeEventListener('abort', this.#onAbort);
    this.#turn = undefined;
    this.#body = undefined;
    this.#chunks = undefined;
    this.#left = 0;
    this.#slab = NOTHING;
    this.#slabFilled = 0;
    this.#headFilled = 0;
    if (this.#paused) this.#resume();
  }

  #decline(turn: Turn): void {
    turn.resolve(undefined);
    this.destroy();
  }

  #onEnd(): void {
    if (this.#body && this.#left === Number.POSITIVE_INFINITY) {
      this.#keepsAlive = false;
      if (this.#slabHanded < this.#slabFilled) this.#handOn(this.#body);
      this.#finish(this.#body);
    } else this.#lose(new errors.SocketError('other side closed'));
  }

  #onTimeout(): void {
    if (this.#paused) return;
    if (!this.#turn) this.destroy();
    else this.destroy(this.#body ? new errors.BodyTimeoutError() : new errors.HeadersTimeoutError());
  }

  /** Ends it. Who waits for an answer, or for more of one, is told `reason`. */
  destroy(reason: Error = new errors.SocketError('given up')): void {
    this.#lose(reason);
  }

  #lose(reason: Error): void {
    const socket = this.#socket;
    if (!socket) return;
    this.#socket = undefined;
    this.#left = 0;
    this.#slab = NOTHING;
    this.#slabFilled = 0;
    socket.destroy();
    this.#body?.end(reason);
    this.#turn?.reject(reason);
    this.#turn?.request.signal?.removeEventListener('abort', this.#onAbort);
    this.#onLost(this);
  }
}

export interface RangeConnectionOptions {
  readonly origin: URL;
  readonly connect: ConnectOptions;
  /** Without a byte for so long it is given up. */
  readonly idleMs: number;
  readonly onFree: (connection: RangeConnection) => void;
  readonly onLost: (connection: RangeConnection) => void;
}
