// Storage behind a registry as clouds have it: nginx hands files out for addresses that are signed, for a short while, and
// refuses who shows other credentials. A signer stands between, because docker-registry cannot sign.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { signalChild } from '../../src/base/child-process.ts';
import { freePort, waitUntilListens } from './servers.ts';

export interface SignedStorage extends AsyncDisposable {
  /** What the registry redirects to. */
  readonly url: string;
  /** Address of nginx. */
  readonly host: string;
  /** Addresses that were signed. */
  signed(): number;
  /**
   * Begins to hand out the files below `root`, once the registry has a place for them. With `before`, the address of a
   * registry that sends nobody elsewhere itself, nginx also stands before that one and does; its address is the result's.
   */
  start(root: string, before?: string): Promise<string>;
}

const SECRET = 'test';

/** `lifetimeSec` is how long an address is good for. */
export async function startSignedStorage(lifetimeSec: number): Promise<SignedStorage> {
  const directory = mkdtempSync(join(tmpdir(), 'naiad-test-nginx-'));
  const port = await freePort();
  const host = `127.0.0.1:${port}`;
  let signed = 0;
  let files = '/';
  const signer = createServer((message, response) => {
    signed++;
    const path = new URL(String(message.url), 'http://x').pathname;
    if (!existsSync(join(files, path))) {
      response.writeHead(404).end();
      return;
    }
    const until = Math.floor(Date.now() / 1000) + lifetimeSec;
    const md5 = createHash('md5').update(`${until}${path} ${SECRET}`).digest('base64url');
    response.writeHead(307, { location: `http://${host}${path}?md5=${md5}&expires=${until}` }).end();
  });
  signer.listen(0, '127.0.0.1');
  await once(signer, 'listening');
  const signerHost = `127.0.0.1:${(signer.address() as AddressInfo).port}`;
  const config = (root: string, servers: string) => `
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
      ${servers}
    }`;
  let stop = async () => {};
  return {
    url: `http://${signerHost}`,
    host,
    signed: () => signed,
    async start(root, before) {
      files = root;
      const frontHost = `127.0.0.1:${await freePort()}`;
      writeFileSync(join(directory, 'nginx.conf'), config(root, before ? front(frontHost, before, signerHost) : ''));
      const child = spawn('nginx', ['-p', directory, '-c', join(directory, 'nginx.conf')], { stdio: 'ignore' });
      const exited = once(child, 'exit');
      stop = async () => {
        signalChild(child, 'SIGTERM');
        await exited;
      };
      await waitUntilListens(port, () => child.exitCode !== null);
      return frontHost;
    },
    async [Symbol.asyncDispose]() {
      await stop();
      signer.close();
      signer.closeAllConnections();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Who may come in is asked of the registry; who may then reads blobs at the signer's. */
function front(host: string, registry: string, signer: string): string {
  return `
      map $request_method $reads { default 0; GET 1; HEAD 1; }
      server {
        listen ${host};
        client_max_body_size 0; proxy_request_buffering off; proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        location = /allowed {
          internal; proxy_pass http://${registry}/v2/; proxy_pass_request_body off; proxy_set_header Content-Length "";
        }
        location ~ "^/v2/(?<name>.+)/blobs/sha256:(?<hex>[0-9a-f]{64})$" {
          auth_request /allowed;
          set $target http://${registry}$request_uri;
          if ($reads) { set $target http://${signer}/$name/blobs/sha256/$hex; }
          proxy_pass $target;
        }
        location / { proxy_pass http://${registry}; }
      }`;
}
