// Connections for undici that are made before there is a request for them: one that is known to follow does not wait for its own.
import type { Socket } from 'node:net';
import { asError } from './exchange.ts';
import { buildConnector } from './http-client.ts';
import type { ConnectOptions } from './range-connection.ts';

type Connector = ReturnType<typeof buildConnector>;
type Target = Parameters<Connector>[0];

export class EarlyConnections implements Disposable {
  readonly #connect: Connector;
  readonly #target: Target;
  /** Open or not yet. */
  readonly #made: Promise<Socket>[] = [];

  constructor({ protocol, host, hostname, port }: URL, options: ConnectOptions) {
    this.#connect = buildConnector(options);
    this.#target = { protocol, host, hostname: hostname.replace(/^\[|\]$/g, ''), port };
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
      const early = new Promise<Socket>((resolve, reject) => {
        this.#connect(this.#target, (error, socket) => (error ? reject(error) : resolve((socket as Socket).unref())));
      });
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
