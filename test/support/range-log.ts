// An HTTP proxy in front of a registry that writes down which bytes of which blob clients were sent.
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface SentRange {
  readonly blob: string;
  readonly start: number;
  /** Behind its last byte. */
  readonly end: number;
  /** When it was asked for, in milliseconds. */
  readonly askedMs: number;
}

export interface RangeLog extends AsyncDisposable {
  /** `127.0.0.1:port`, as references name it. */
  readonly host: string;
  /** Of answers 206, as their Content-Range says. */
  readonly sent: readonly SentRange[];
  /** Paths that were asked for, of whatever kind. */
  readonly paths: readonly string[];
}

/** Forwards to `host` (`address:port`). */
export async function rangeLog(host: string): Promise<RangeLog> {
  const [hostname = '', port = ''] = host.split(':');
  const sent: SentRange[] = [];
  const paths: string[] = [];
  const server = createServer((incoming, outgoing) => {
    const { method, url: path, headers } = incoming;
    const askedMs = performance.now();
    paths.push(path ?? '');
    const upstream = request({ hostname, port: Number(port), method, path, headers }, (answer) => {
      const range = /^bytes (\d+)-(\d+)\//.exec(answer.headers['content-range'] ?? '');
      const blob = /\/blobs\/(sha256:[0-9a-f]{64})$/.exec(path ?? '')?.[1];
      if (range && blob) sent.push({ blob, start: Number(range[1]), end: Number(range[2]) + 1, askedMs });
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    upstream.on('error', () => outgoing.destroy());
    outgoing.on('close', () => upstream.destroy());
    incoming.pipe(upstream);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    sent,
    paths,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Pairs of answers that have more than `sizeMax` bytes in common though the second was asked for within `withinMs` of the first. */
export function sentTwice(
  sent: readonly SentRange[],
  { sizeMax, withinMs }: { readonly sizeMax: number; readonly withinMs: number },
): [SentRange, SentRange][] {
  return sent.flatMap((one, index) =>
    sent
      .slice(index + 1)
      .filter((other) => other.blob === one.blob && Math.abs(other.askedMs - one.askedMs) < withinMs)
      .filter((other) => Math.min(one.end, other.end) - Math.max(one.start, other.start) > sizeMax)
      .map((other): [SentRange, SentRange] => [one, other]),
  );
}
