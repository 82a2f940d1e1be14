// The daemon's side of its API: HTTP and JSON on a Unix socket, for this user alone. Errors come with a status of 400 or
// above and { "code", "message", "hint", "causes" }. docs/reference/daemon-api.md describes the calls.
import { once } from 'node:events';
import { chmodSync, rmSync, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { NaiadError } from '../base/errors.ts';
import { shortSocketPath } from '../base/socket-path.ts';
import { systemError } from '../base/system-error.ts';
import { encodeError } from '../mount/wire-error.ts';

/** A call that was understood. */
export interface Call {
  /** What stands for `:id` in the path. */
  readonly id: string;
  readonly body: Readonly<Record<string, unknown>>;
  /** Fires when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

/** Answers with a value for JSON, or with text of a type of its own. */
export type Route = (call: Call) => unknown;

export class TextAnswer {
  readonly text: string;
  readonly contentType: string;

  constructor(text: string, contentType: string) {
    this.text = text;
    this.contentType = contentType;
  }
}

export interface ApiServer extends AsyncDisposable {
  /** Calls under way. */
  readonly active: number;
  /** False once the socket is gone or another daemon's. */
  isThere(): boolean;
}

/** Calls under way may end within this time. */
const CLOSE_WAIT_MS = 1000;
/** A request carries an environment, which Linux bounds to this by default. */
const BODY_SIZE_MAX = 2 * 1024 * 1024;

/** Serves `routes` (`METHOD /path/:id`) at `socketPath`. Disposing ends what is under way and removes the socket. */
export async function serveApi(socketPath: string, routes: ReadonlyMap<string, Route>): Promise<ApiServer> {
  let active = 0;
  const server = createServer((incoming, response) => {
    active++;
    response.once('close', () => active--);
    answer(incoming, response, routes).then(
      (value) => send(response, 200, value),
      (error) => send(response, 409, encodeError(error)),
    );
  });
  server.requestTimeout = 0; // A mount takes as long as its registry.
  const short = shortSocketPath(socketPath);
  let inode: number;
  try {
    rmSync(socketPath, { force: true });
    server.listen(short.path);
    await once(server, 'listening');
    chmodSync(socketPath, 0o600);
    inode = statSync(socketPath).ino;
  } catch (error) {
    short[Symbol.dispose]();
    throw systemError(error, socketPath);
  }
  const isThere = () => statSync(socketPath, { throwIfNoEntry: false })?.ino === inode;
  return {
    get active() {
      return active;
    },
    isThere,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      server.closeIdleConnections();
      setTimeout(() => server.closeAllConnections(), CLOSE_WAIT_MS).unref();
      await closed;
      if (isThere()) rmSync(socketPath, { force: true });
      short[Symbol.dispose]();
    },
  };
}

async function answer(
  incoming: IncomingMessage,
  response: ServerResponse,
  routes: ReadonlyMap<string, Route>,
): Promise<unknown> {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const { method = '', url = '' } = incoming;
  const words = url.split('/');
  for (const [pattern, route] of routes) {
    const [wantedMethod, path = ''] = pattern.split(' ');
    const parts = path.split('/');
    if (wantedMethod !== method || parts.length !== words.length) continue;
    if (!parts.every((part, index) => part === ':id' || part === words[index])) continue;
    const id = words[parts.indexOf(':id')] ?? '';
    const body = method === 'POST' ? await readBody(incoming) : {};
    return await route({ id, body, signal: gone.signal });
  }
  throw new NaiadError('USAGE', `no such call: ${method} ${url}`);
}

async function readBody(incoming: IncomingMessage): Promise<Record<string, unknown>> {
  let text = '';
  for await (const piece of incoming.setEncoding('utf8')) {
    text += piece;
    if (text.length > BODY_SIZE_MAX) throw new NaiadError('LIMIT_EXCEEDED', 'the body of a call is too large');
  }
  try {
    const value: unknown = JSON.parse(text || '{}');
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new NaiadError('USAGE', 'the body of a call is no JSON object');
}

function send(response: ServerResponse, status: number, value: unknown): void {
  const [type, body] =
    value instanceof TextAnswer ? [value.contentType, value.text] : ['application/json', JSON.stringify(value ?? {})];
  response.writeHead(status, { 'content-type': type, connection: 'close' }).end(body);
}
