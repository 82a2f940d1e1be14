// A registry as bad as a test wants it: a real HTTP server over the blobs of an OCI layout, whose every answer can be bent by
// a script. Where the script says nothing it answers as registries do.
import { once } from 'node:events';
import { createReadStream, readFileSync, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './servers.ts';

export interface RegistryRequest {
  readonly kind: 'ping' | 'manifest' | 'blob' | 'signed';
  /** Of this kind, from 1. */
  readonly number: number;
  /** `sha256:…` of a blob. */
  readonly digest: string | undefined;
  readonly range: { readonly offset: number; readonly end: number } | undefined;
}

/** How one answer is bent. */
export type Fault =
  /** The connection is closed without an answer. */
  | { readonly kind: 'reset' }
  | { readonly kind: 'status'; readonly status: number; readonly retryAfterSec?: number }
  /** The connection is closed after so many bytes of the body. */
  | { readonly kind: 'cut'; readonly bytes: number }
  /** One bit of the body is another. */
  | { readonly kind: 'flip'; readonly at: number }
  /** The body comes so many bytes a second. */
  | { readonly kind: 'trickle'; readonly bytesPerSecond: number }
  /** Not another byte after so many, and the connection stays open. */
  | { readonly kind: 'stall'; readonly bytes: number }
  /** The range is ignored: status 200 and the whole blob. */
  | { readonly kind: 'whole' }
  /** To an address that is good for so long, and answers 403 afterwards. */
  | { readonly kind: 'redirect'; readonly validMs: number }
  | { readonly kind: 'delay'; readonly ms: number };

export interface BadRegistry extends AsyncDisposable {
  /** `127.0.0.1:port`. */
  readonly host: string;
  /** What is done to each request; replace it at any time. */
  script: (request: RegistryRequest) => Fault | undefined;
  /** Ranges of blobs that were answered, as `digest offset end`, in order. */
  readonly served: string[];
  /** Connections that were made so far. */
  readonly connections: number;
  /** Refuses connections and cuts those there are, until `up`. */
  down(): Promise<void>;
  up(): Promise<void>;
}

/** Serves the images of the OCI layout `directory` under any repository name, tags as the layout has them. */
export async function startBadRegistry(directory: string): Promise<BadRegistry> {
  const registry = new Registry(directory);
  await registry.up();
  return registry;
}

/** Longer than a busy machine takes between two requests: Node's own 5 s would make connections depend on that. */
const KEEP_ALIVE_MS = 60_000;
const NO_FAULT = (): undefined => undefined;

class Registry implements BadRegistry {
  script: (request: RegistryRequest) => Fault | undefined = NO_FAULT;
  readonly served: string[] = [];
  connections = 0;
  readonly #directory: string;
  readonly #counts = new Map<string, number>();
  #server: Server | undefined;
  #port = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  get host(): string {
    return `127.0.0.1:${this.#port}`;
  }

  async up(): Promise<void> {
    const server = createServer((message, response) => {
      response.on('error', () => {}); // The client went away.
      this.#answer(message, response).catch((error) => response.destroy(error as Error));
    });
    server.on('connection', () => {
      this.connections++;
    });
    server.keepAliveTimeout = KEEP_ALIVE_MS;
    this.#port ||= await freePort(); // It is to be had again after `down`.
    server.listen(this.#port, '127.0.0.1');
    await once(server, 'listening');
    this.#server = server;
  }

  async down(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.#server = undefined;
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.down();
  }

  async #answer(message: IncomingMessage, response: ServerResponse): Promise<void> {
    message.resume();
    const url = new URL(message.url ?? '', 'http://x');
    const request = this.#classify(url, message);
    const fault = this.script(request);
    if (fault?.kind === 'delay') await sleep(fault.ms);
    if (fault?.kind === 'reset') message.socket.destroy();
    else if (fault?.kind === 'status') {
      const headers: Record<string, string> =
        fault.retryAfterSec === undefined ? {} : { 'retry-after': `${fault.retryAfterSec}` };
      if (fault.status === 401) headers['www-authenticate'] = 'Basic realm="bad"';
      response.writeHead(fault.status, headers).end();
    } else if (request.kind === 'ping') response.writeHead(200).end();
    else if (request.kind === 'manifest') this.#manifest(url, message, response);
    else if (request.kind === 'signed' && Number(url.searchParams.get('until')) < Date.now()) {
      response.writeHead(403).end('<Code>AccessDenied</Code><Message>Request has expired</Message>');
    } else if (fault?.kind === 'redirect') {
      const location = `http://${this.host}/signed/${request.digest}?until=${Date.now() + fault.validMs}`;
      response.writeHead(307, { location }).end();
    } else this.#blob(request, message, response, fault);
  }

  #classify(url: URL, message: IncomingMessage): RegistryRequest {
    const path = url.pathname;
    const kind = path.startsWith('/signed/')
      ? 'signed'
      : path.includes('/blobs/')
        ? 'blob'
        : path.includes('/manifests/')
          ? 'manifest'
          : 'ping';
    const number = (this.#counts.get(kind) ?? 0) + 1;
    this.#counts.set(kind, number);
    const bounds = /^bytes=(\d+)-(\d+)$/.exec(message.headers.range ?? '');
    return {
      kind,
      number,
      digest: /sha256:[0-9a-f]{64}/.exec(path)?.[0],
      range: bounds ? { offset: Number(bounds[1]), end: Number(bounds[2]) + 1 } : undefined,
    };
  }

  #manifest(url: URL, message: IncomingMessage, response: ServerResponse): void {
    const reference = url.pathname.slice(url.pathname.lastIndexOf('/') + 1);
    const index = JSON.parse(readFileSync(join(this.#directory, 'index.json'), 'utf8')) as {
      manifests: { digest: string; mediaType: string; annotations?: Record<string, string> }[];
    };
    const found = index.manifests.find(
      ({ digest, annotations }) =>
        digest === reference || annotations?.['org.opencontainers.image.ref.name'] === reference,
    );
    const digest = found?.digest ?? (reference.startsWith('sha256:') ? reference : undefined);
    if (digest === undefined) {
      response.writeHead(404).end();
      return;
    }
    const body = readFileSync(this.#pathOf(digest));
    const { mediaType } = JSON.parse(body.toString()) as { mediaType?: string };
    const type = found?.mediaType ?? mediaType ?? 'application/vnd.oci.image.manifest.v1+json';
    const headers = { 'content-type': type, 'content-length': body.length, 'docker-content-digest': digest };
    response.writeHead(200, headers).end(message.method === 'HEAD' ? undefined : body);
  }

  #blob(request: RegistryRequest, message: IncomingMessage, response: ServerResponse, fault?: Fault): void {
    const path = this.#pathOf(request.digest ?? '');
    const { size } = statSync(path);
    const range = fault?.kind === 'whole' ? undefined : request.range;
    const [offset, end] = range ? [range.offset, Math.min(range.end, size)] : [0, size];
    const headers: Record<string, string | number> = { 'content-length': end - offset, 'accept-ranges': 'bytes' };
    if (range) headers['content-range'] = `bytes ${offset}-${end - 1}/${size}`;
    response.writeHead(range ? 206 : 200, headers);
    if (message.method === 'HEAD') {
      response.end();
      return;
    }
    if (request.range) this.served.push(`${request.digest} ${offset} ${end}`);
    const body = createReadStream(path, { start: offset, end: end - 1 });
    const bent = fault ? bend(fault, response) : undefined;
    response.on('close', () => body.destroy());
    if (bent) body.pipe(bent).pipe(response);
    else body.pipe(response);
  }

  #pathOf(digest: string): string {
    return join(this.#directory, 'blobs', digest.replace(':', '/'));
  }
}

/** What a body goes through on its way, for the faults that are about bodies. */
function bend(fault: Fault, response: ServerResponse): Transform | undefined {
  let passed = 0;
  const transform = (change: (piece: Buffer, at: number, done: (piece: Buffer) => void) => void) =>
    new Transform({
      transform(piece: Buffer, _encoding, done) {
        const at = passed;
        passed += piece.length;
        change(piece, at, (changed) => done(null, changed));
      },
    });
  switch (fault.kind) {
    case 'flip':
      return transform((piece, at, done) => {
        const place = fault.at - at;
        if (place >= 0 && place < piece.length) piece[place] = (piece[place] as number) ^ 0x10;
        done(piece);
      });
    case 'cut':
      return transform((piece, at, done) => {
        done(piece.subarray(0, Math.max(0, fault.bytes - at)));
        // What was passed on goes out first.
        if (at + piece.length >= fault.bytes) setImmediate(() => response.socket?.destroySoon());
      });
    case 'stall':
      // Never done: nothing follows.
      return transform((piece, at, done) => {
        const rest = fault.bytes - at;
        if (piece.length <= rest) done(piece);
        else response.write(piece.subarray(0, Math.max(0, rest)));
      });
    case 'trickle': {
      return transform((piece, _at, done) => {
        const step = Math.max(1, Math.floor(fault.bytesPerSecond / 10));
        let sent = 0;
        const tick = () => {
          if (response.destroyed) return;
          if (sent >= piece.length) {
            done(Buffer.alloc(0));
            return;
          }
          response.write(piece.subarray(sent, sent + step));
          sent += step;
          setTimeout(tick, 100);
        };
        tick();
      });
    }
    default:
      return undefined;
  }
}
