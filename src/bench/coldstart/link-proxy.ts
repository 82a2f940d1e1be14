// A TCP proxy that is a link: one bandwidth for all connections together, and a round trip for each exchange. What passes
// is counted, with its time. What it does not imitate: packet loss, and TCP's slow start.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { SharedLink } from '../../registry-server/shaper.ts';
import type { Link } from './link.ts';
import { RequestLines } from './request-lines.ts';

/** What passed since the last `take`. Times are milliseconds since the epoch, of `nowMs`. */
export interface LinkTraffic {
  /** When bytes reached the client, and how many. */
  readonly received: readonly (readonly [atMs: number, bytes: number])[];
  /** When requests left the client, and their first lines. */
  readonly requests: readonly (readonly [atMs: number, line: string])[];
  readonly connections: number;
}

export interface LinkProxy extends AsyncDisposable {
  readonly port: number;
  take(): LinkTraffic;
}

/** Finer clocks than this are not kept. */
const RECORD_MS = 1;

/** Wall clock with fractions, comparable between processes of one machine. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

/** Listens on a loopback port and forwards to `target` over the link. */
export async function startLinkProxy(
  target: { readonly host: string; readonly port: number },
  link: Link,
): Promise<LinkProxy> {
  const line = new SharedLink(link.bytesPerSecond);
  const sockets = new Set<Socket>();
  let traffic = newTraffic();
  const server = createServer({ noDelay: true }, (client) => {
    traffic.connections++;
    const upstream = connect({ ...target, noDelay: true });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      socket.on('error', () => {
        client.destroy();
        upstream.destroy();
      });
    }
    // Connecting takes a round trip before anything can be sent.
    const opensAt = performance.now() + link.rttMs;
    const lines = new RequestLines();
    client.on('data', (bytes) => {
      for (const first of lines.push(bytes as Buffer)) traffic.requests.push([nowMs(), first]);
    });
    const up = delayed(upstream, (now) => Math.max(now, opensAt) + link.rttMs);
    client.on('data', (bytes) => up.write(bytes as Buffer));
    client.on('end', () => up.end());
    download(upstream, client, line, (bytes) => note(traffic, bytes)).catch(() => client.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    take() {
      const taken = traffic;
      traffic = newTraffic();
      return taken;
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

type Recorded = { received: [number, number][]; requests: [number, string][]; connections: number };

function newTraffic(): Recorded {
  return { received: [], requests: [], connections: 0 };
}

function note({ received }: Recorded, bytes: number): void {
  const at = nowMs();
  const last = received.at(-1);
  if (last && at - last[0] < RECORD_MS) last[1] += bytes;
  else received.push([at, bytes]);
}

/** Answers, at the bandwidth of the link. The whole round trip is on the way of the requests, where it costs the same. */
async function download(upstream: Socket, client: Socket, link: SharedLink, passed: (bytes: number) => void) {
  for await (const bytes of upstream as AsyncIterable<Buffer>) {
    for (let offset = 0; offset < bytes.length; offset += link.pieceSize) {
      const piece = bytes.subarray(offset, offset + link.pieceSize);
      await link.transmit(piece.length);
      if (client.destroyed) return;
      passed(piece.length);
      if (!client.write(piece)) await Promise.race([once(client, 'drain'), once(client, 'close')]);
    }
  }
  client.end();
}

/** Writes to `socket` in order, each piece when `due` says. */
function delayed(socket: Socket, due: (now: number) => number) {
  const queue: { readonly at: number; readonly bytes: Buffer | undefined }[] = [];
  let timer: NodeJS.Timeout | undefined;
  const flush = () => {
    timer = undefined;
    for (let first = queue[0]; first; first = queue[0]) {
      const wait = first.at - performance.now();
      // Timers keep whole milliseconds and fire late rather than early.
      if (wait > EARLY_MS) {
        timer = setTimeout(flush, wait - EARLY_MS);
        return;
      }
      queue.shift();
      if (first.bytes) socket.write(first.bytes);
      else socket.end();
    }
  };
  const add = (bytes: Buffer | undefined) => {
    queue.push({ at: due(performance.now()), bytes });
    if (timer === undefined) flush();
  };
  return { write: add, end: () => add(undefined) };
}

const EARLY_MS = 0.5;
