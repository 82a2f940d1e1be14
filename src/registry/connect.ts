// Connections as undici makes them, for what is sent past its pools, and before there is a request for one.
import type { Socket } from 'node:net';
import { withoutBrackets } from '../base/brackets.ts';
import type { buildConnector } from './http-client.ts';

export type ConnectOptions = NonNullable<Parameters<typeof buildConnector>[0]>;
export type Connector = ReturnType<typeof buildConnector>;

/** A connection to `origin` by `connect`, with TLS where that is spoken. The caller destroys it. @throws what the network says */
export function openSocket(connect: Connector, { protocol, host, hostname, port }: URL): Promise<Socket> {
  return new Promise((resolve, reject) => {
    connect({ protocol, host, hostname: withoutBrackets(hostname), port }, (error, socket) =>
      error ? reject(error) : resolve(socket as Socket),
    );
  });
}
