// An HTTP server that answers as a test says, for faults that real registries do not produce on demand.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  /** The beginning of its body. */
  readonly body: string;
}

/** More is not kept. */
const BODY_SIZE_MAX = 64 * 1024;

export interface HttpDouble extends AsyncDisposable {
  readonly host: string;
  readonly url: string;
  /** What was asked, in order. */
  readonly asked: Asked[];
}

/** `answer` gets the number of the request, from 1, and has its body read already. */
export async function startDouble(
  answer: (asked: Asked, response: ServerResponse, number: number) => void,
  hostname = '127.0.0.1',
): Promise<HttpDouble> {
  const asked: Asked[] = [];
  const server = createServer((message, response) => {
    const entry = { method: message.method ?? '', path: message.url ?? '', headers: message.headers, body: '' };
    asked.push(entry);
    const number = asked.length;
    message.on('error', () => {});
    message.on('data', (piece: Buffer) => {
      if (entry.body.length < BODY_SIZE_MAX) entry.body += piece.toString('latin1');
    });
    message.on('end', () => answer(entry, response, number));
  });
  server.listen(0, hostname);
  await once(server, 'listening');
  const host = `${hostname}:${(server.address() as AddressInfo).port}`;
  return {
    host,
    url: `http://${host}`,
    asked,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
    },
  };
}
