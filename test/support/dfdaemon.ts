// A double of Dragonfly's daemon as its documentation and sources describe it: one port that is a forward proxy for requests
// with a whole address and a registry mirror for the others; contents of blobs come from a store of its own once it has
// fetched them, everything else is passed on. It proves what we do with such a daemon, nothing about the daemon itself.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Agent, request } from 'undici';

/** Ways in which it can disappoint. */
export type Trouble =
  | 'busy' // 429, said by the proxy itself
  | 'blocked' // 403, said by the proxy itself
  | 'broken' // 500, said by the daemon
  | 'old' // 200 with the range alone
  | 'cut' // breaks off half-way
  | 'wrong' // other bytes than the registry's
  | 'silent'; // never answers

export interface DfdaemonAsked {
  readonly method: string;
  /** Of the registry, after the daemon has found out which is meant. */
  readonly url: string;
  readonly way: 'proxy' | 'mirror' | 'connect';
  readonly headers: IncomingMessage['headers'];
  /** It was handled by Dragonfly, not just passed on. */
  readonly p2p: boolean;
}

export interface Dfdaemon extends AsyncDisposable {
  readonly url: string;
  readonly asked: DfdaemonAsked[];
  trouble: Trouble | undefined;
}

interface Task {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly bytes: Buffer;
}

/** `rule` is what `proxy.rules` matches, for those who do not say that they want Dragonfly. */
export async function startDfdaemon(rule: RegExp | undefined = undefined): Promise<Dfdaemon> {
  const running = new Running(rule);
  const server = createServer((message, response) => {
    running.serve(message, response).catch(() => response.destroy());
  });
  // It ends TLS itself, with a certificate that nobody trusts: whoever comes so far gets nothing here.
  server.on('connect', (message, socket) => {
    running.asked.push({ method: 'CONNECT', url: String(message.url), way: 'connect', headers: {}, p2p: false });
    socket.destroy();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return Object.assign(running, {
    url,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
    },
  });
}

class Running {
  trouble: Trouble | undefined;
  readonly asked: DfdaemonAsked[] = [];
  readonly #rule: RegExp | undefined;
  /** By address without query, as the ids of tasks are made; asked of nobody again, whoever asks. */
  readonly #tasks = new Map<string, Task>();

  constructor(rule: RegExp | undefined) {
    this.#rule = rule;
  }

  async serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', headers } = message;
    const isProxy = /^https?:/.test(String(message.url));
    const registry =
      headers['x-dragonfly-registry'] ?? `https://${new URL(String(message.url), 'http://x').searchParams.get('ns')}`;
    const url = new URL(String(message.url), isProxy ? undefined : String(registry));
    const isWanted = headers['x-dragonfly-use-p2p'] === 'true' || (this.#rule?.test(url.pathname) ?? false);
    const p2p = isWanted && method === 'GET';
    this.asked.push({ method, url: url.href, way: isProxy ? 'proxy' : 'mirror', headers, p2p });
    if (this.trouble && p2p) return this.#fail(this.trouble, url, message, response);
    const task = p2p ? await this.#task(url, headers) : await passOn(url, message);
    if (p2p && task.status === 200) return sendRange(task, headers.range, response);
    const said = p2p ? { 'x-dragonfly-error-type': 'backend' } : {};
    response.writeHead(task.status, { ...task.headers, ...said }).end(task.bytes);
  }

  async #task(url: URL, headers: IncomingMessage['headers']): Promise<Task> {
    const id = url.origin + url.pathname;
    const known = this.#tasks.get(id);
    if (known) return known;
    const { authorization } = headers;
    const task = await fetchTask(url, 'GET', authorization === undefined ? {} : { authorization });
    if (task.status === 200) this.#tasks.set(id, task);
    return task;
  }

  async #fail(trouble: Trouble, url: URL, message: IncomingMessage, response: ServerResponse): Promise<void> {
    const refuse = (status: number, by: string) =>
      void response.writeHead(status, { 'x-dragonfly-error-type': by }).end();
    if (trouble === 'busy') return refuse(429, 'proxy');
    if (trouble === 'blocked') return refuse(403, 'proxy');
    if (trouble === 'broken') return refuse(500, 'dfdaemon');
    if (trouble === 'silent') return;
    const task = await this.#task(url, message.headers);
    const wrong = { ...task, bytes: Buffer.alloc(task.bytes.length, 0x77) };
    if (task.status !== 200 || trouble === 'wrong') return sendRange(wrong, message.headers.range, response);
    const [bytes] = rangeOf(task, message.headers.range);
    if (trouble === 'old') return void response.writeHead(200, { 'content-length': bytes.length }).end(bytes);
    response.writeHead(206, rangeOf(task, message.headers.range)[1]);
    response.write(bytes.subarray(0, bytes.length / 2), () => response.destroy());
  }
}

/** It does not look at certificates, and follows redirects by itself, with credentials for the first host only. */
const pool = new Agent({ connect: { rejectUnauthorized: false } });

async function fetchTask(url: URL, method: string, headers: Record<string, string>): Promise<Task> {
  const {
    statusCode,
    headers: said,
    body,
  } = await request(url, { dispatcher: pool, method: method as 'GET', headers });
  const bytes = Buffer.from(await body.arrayBuffer());
  const { connection: _, 'keep-alive': __, 'transfer-encoding': ___, ...kept } = said;
  if (statusCode < 300 || statusCode >= 400 || method !== 'GET') return { status: statusCode, headers: kept, bytes };
  const { authorization: ____, ...others } = headers;
  const target = new URL(String(said.location), url);
  return await fetchTask(target, method, target.origin === url.origin ? headers : others);
}

async function passOn(url: URL, message: IncomingMessage): Promise<Task> {
  const { host: _, connection: __, 'content-length': ___, ...headers } = message.headers;
  return await fetchTask(url, message.method ?? 'GET', headers as Record<string, string>);
}

/** The bytes of a range, and what is said of them; only the first of several is served. */
function rangeOf({ bytes }: Task, range: string | undefined): [Buffer, Record<string, string>] {
  const [, from, to] = /^bytes=(\d+)-(\d*)/.exec(range ?? '') ?? [];
  const [start, end] = [Number(from ?? 0), Math.min(to ? Number(to) + 1 : bytes.length, bytes.length)];
  const part = bytes.subarray(start, end);
  const said = { 'content-length': String(part.length) };
  return [part, range ? { ...said, 'content-range': `bytes ${start}-${end - 1}/${bytes.length}` } : said];
}

function sendRange(task: Task, range: string | undefined, response: ServerResponse): void {
  const [bytes, said] = rangeOf(task, range);
  response.writeHead(range ? 206 : 200, said).end(bytes);
}
