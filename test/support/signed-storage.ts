// Storage behind a registry as clouds have it: nginx hands files out for addresses that are signed, for a short while, and
// refuses who shows other credentials. A signer stands between, because docker-registry cannot sign.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './servers.ts';

export interface SignedStorage extends AsyncDisposable {
  /** What the registry redirects to. */
  readonly url: string;
  /** Address of nginx. */
  readonly host: string;
  /** Addresses that were signed. */
  signed(): number;
  /** Begins to hand out the files below `root`, once the registry has a place for them. */
  start(root: string): Promise<void>;
}

const SECRET = 'test';

/** `lifetimeSec` is how long an address is good for. */
export async function startSignedStorage(lifetimeSec: number): Promise<SignedStorage> {
  const directory = mkdtempSync(join(tmpdir(), 'naiad-test-nginx-'));
  const port = await freePort();
  const host = `127.0.0.1:${port}`;
  let signed = 0;
  const signer = createServer((message, response) => {
    signed++;
    const path = new URL(String(message.url), 'http://x').pathname;
    const until = Math.floor(Date.now() / 1000) + lifetimeSec;
    const md5 = createHash('md5').update(`${until}${path} ${SECRET}`).digest('base64url');
    response.writeHead(307, { location: `http://${host}${path}?md5=${md5}&expires=${until}` }).end();
  });
  signer.listen(0, '127.0.0.1');
  await once(signer, 'listening');
  const config = (root: string) => `
    daemon off; worker_processes 1; pid ${directory}/pid; error_log ${directory}/error.log; user root;
    events { worker_connections 64; }
    http {
      access_log off; default_type application/octet-stream;
      client_body_temp_path ${directory}/a; proxy_temp_path ${directory}/b; fastcgi_temp_path ${directory}/c;
      uwsgi_temp_path ${directory}/d; scgi_temp_path ${directory}/e;
      server {
        listen ${host};
        location / {
          secure_link $arg_md5,$arg_expires;
          secure_link_md5 "$secure_link_expires$uri ${SECRET}";
          if ($http_authorization) { return 400; }
          if ($secure_link != "1") { return 403; }
          root ${root};
        }
      }
    }`;
  let stop = async () => {};
  return {
    url: `http://127.0.0.1:${(signer.address() as AddressInfo).port}`,
    host,
    signed: () => signed,
    async start(root: string) {
      writeFileSync(join(directory, 'nginx.conf'), config(root));
      const child = spawn('nginx', ['-p', directory, '-c', join(directory, 'nginx.conf')], { stdio: 'ignore' });
      const exited = once(child, 'exit');
      stop = async () => {
        child.kill('SIGTERM');
        await exited;
      };
      await listens(port, () => child.exitCode !== null);
    },
    async [Symbol.asyncDispose]() {
      await stop();
      signer.close();
      signer.closeAllConnections();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function listens(port: number, gone: () => boolean): Promise<void> {
  for (let attempt = 0; attempt < 300 && !gone(); attempt++) {
    const socket = connect(port, '127.0.0.1');
    const connected = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (connected) return;
    await sleep(30);
  }
  throw new Error('nginx did not start');
}
