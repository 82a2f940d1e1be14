// Connections for undici that are made before there is a request for them: one that is known to follow does not wait for its own.
import type { Socket } from 'node:net';
import { type ConnectOptions, type Connector, openSocket } from './connect.ts';
import { asError } from './exchange.ts';
import { buildConnector } from './http-client.ts';

export class EarlyConnections implements Disposable {
  readonly #connect: Connector;
  readonly #origin: URL;
  /** Open or not yet. */
  readonly #made: Promise<Socket>[] = [];

  constructor(origin: URL, options: ConnectOptions) {
    this.#connect = buildConnector(options);
    this.#origin = origin;
  }

  /** How undici connects to the origin: by what was made early, while there is some. */
  readonly connect: Connector = (target, callback) => {
    const early = this.#made.shift();
    if (!early) this.#connect(target, callback);
    else
      early.then(
        (socket) => {
          // Bytes that came before anything was asked are no answer.
          if (!socket.readable || !socket.writable || socket.readableLength > 0) {
            socket.destroy();
            this.#connect(target, callback);
          } else callback(null, socket.ref());
        },
        (error) => callback(asError(error), null),
      );
  };

  /** Makes some more. A failure is told to the request that takes the connection, if one does before. */
  make(count: number): void {
    for (let left = count; left > 0; left--) {
      const early = openSocket(this.#connect, this.#origin).then((socket) => socket.unref());
      this.#made.push(early);
      early.catch(() => {
        const at = this.#made.indexOf(early);
        if (at >= 0) this.#made.splice(at, 1);
      });
    }
  }

  /** Ends those that nobody took. */
  [Symbol.dispose](): void {
    for (const early of this.#made.splice(0))
      early.then(
        (socket) => socket.destroy(),
        () => {},
      );
  }
}
