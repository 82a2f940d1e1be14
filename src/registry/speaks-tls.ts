// Whether TLS is spoken at an address: for those who said that it need not be.

import { isIP } from 'node:net';
import { connect } from 'node:tls';
import { withoutBrackets } from '../base/brackets.ts';

/** What a server without TLS makes of a greeting with it. */
const NO_TLS = new Set(['ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_SSL_PACKET_LENGTH_TOO_LONG', 'EPROTO', 'ECONNRESET']);

/**
 * False when something answers at `url` without TLS, or nothing listens at the port that is usual for it. Where nobody can be reached at
 * all this is true: the request that follows says what is wrong.
 */
export async function speaksTls(url: URL, timeoutMs: number): Promise<boolean> {
  const host = withoutBrackets(url.hostname);
  // A certificate is not looked at: nothing but a greeting is sent.
  const options = { host, port: Number(url.port || 443), rejectUnauthorized: false, timeout: timeoutMs };
  const socket = connect({ ...options, ...(isIP(host) === 0 ? { servername: host } : {}) });
  try {
    return await new Promise<boolean>((resolve) => {
      socket.once('secureConnect', () => resolve(true));
      socket.once('timeout', () => resolve(true));
      socket.once('error', ({ code = '' }: NodeJS.ErrnoException) => {
        resolve(!(NO_TLS.has(code) || (code === 'ECONNREFUSED' && url.port === '')));
      });
    });
  } finally {
    socket.destroy();
  }
}
