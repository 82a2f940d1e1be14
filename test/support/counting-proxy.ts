// A TCP proxy in front of a registry that counts what the client received: a count that naiad has no part in.
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

export interface CountingProxy extends AsyncDisposable {
  /** `127.0.0.1:port`, as references name it. */
  readonly host: string;
  /** Bytes sent to clients since the start or the last `reset`, headers included. */
  received(): number;
  /** Bytes that clients sent. */
  sent(): number;
  reset(): void;
  /** Cuts every connection; new ones are accepted. */
  sever(): void;
  /** Cuts every connection and accepts no more. */
  cut(): void;
}

/** Forwards to `host` (`address:port`); `onBytes` is called with the bytes in each direction so far. */
export async function countingProxy(
  host: string,
  onBytes: (totals: { received: number; sent: number }) => void = () => {},
): Promise<CountingProxy> {
  const [address = '', port = ''] = host.split(':');
  const sockets = new Set<Socket>();
  let received = 0;
  let sent = 0;
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = connect({ port: Number(port), host: address, allowHalfOpen: true });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      // Without, small answers wait for acknowledgements of each other: 40 ms apiece.
      socket.setNoDelay(true);
      socket.on('close', () => sockets.delete(socket));
      // Either end may reset; the other one is told by the close.
      socket.on('error', () => {});
    }
    upstream.on('data', (piece) => {
      received += piece.length;
      onBytes({ received, sent });
    });
    client.on('data', (piece) => {
      sent += piece.length;
      onBytes({ received, sent });
    });
    client.pipe(upstream).pipe(client);
    // An end was passed on by the pipe, behind the bytes that a slow client has not taken yet; only a reset is passed on at once.
    client.on('close', () => upstream.destroy());
    upstream.on('close', (reset) => {
      if (reset) client.destroy();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const bound = server.address();
  if (bound === null || typeof bound === 'string') throw new Error('no port');
  const sever = () => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  const cut = () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return {
    host: `127.0.0.1:${bound.port}`,
    received: () => received,
    sent: () => sent,
    reset: () => {
      received = 0;
      sent = 0;
    },
    sever,
    cut,
    async [Symbol.asyncDispose]() {
      cut();
      if (server.listening) await once(server, 'close');
    },
  };
}
