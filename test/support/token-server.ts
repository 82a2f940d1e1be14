// A token service as docker-registry trusts it: RS256 tokens with the certificate in their header. What it is asked is
// kept; what it answers can be bent.
import { execFileSync } from 'node:child_process';
import { createSign, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { program, type Requirement } from './requires.ts';

export interface TokenServer extends AsyncDisposable {
  readonly realm: string;
  readonly service: string;
  /** Path of the certificate a registry is to trust. */
  readonly certificate: string;
  /** Query and Authorization of each request, in order. */
  readonly asked: { readonly query: URLSearchParams; readonly authorization: string | undefined }[];
}

export interface TokenServerOptions {
  /** Who may have tokens to push; anonymous ones get tokens to pull when `anonymousPull`. */
  readonly user: string;
  readonly password: string;
  readonly anonymousPull?: boolean;
  /** Answers as `access_token`. */
  readonly accessToken?: boolean;
  /** A registry takes the token of this number, from 1, for so long, half a second more or less, whatever it is said to be good
   *  for: 300 s, and so long it is good when nothing is said. */
  readonly lifetimeSec?: (number: number) => number | undefined;
  /** A registry takes a token only so long after it was given out, up to a second less: the clocks differ. */
  readonly beginsInSec?: number;
}

export function openssl(): Requirement {
  return program('openssl');
}

export async function startTokenServer(options: TokenServerOptions): Promise<TokenServer> {
  const directory = mkdtempSync(join(tmpdir(), 'naiad-test-token-'));
  const [key, certificate] = [join(directory, 'key.pem'), join(directory, 'certificate.pem')];
  const subject = ['-subj', '/CN=naiad-test', '-days', '2'];
  const files = ['-keyout', key, '-out', certificate];
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', ...subject, ...files], { stdio: 'ignore' });
  const service = 'registry.test';
  const expected = `Basic ${Buffer.from(`${options.user}:${options.password}`).toString('base64')}`;
  const asked: TokenServer['asked'] = [];
  const server = createServer((request, response) => {
    const query = new URL(request.url ?? '', 'http://x').searchParams;
    const { authorization } = request.headers;
    asked.push({ query, authorization });
    const known = authorization === expected;
    if ((authorization !== undefined && !known) || (!known && !options.anonymousPull)) {
      response.writeHead(401).end();
      return;
    }
    const access = query.getAll('scope').map((scope) => scopeAccess(scope, known));
    const token = signToken({
      key,
      certificate,
      service,
      access,
      lifetimeSec: options.lifetimeSec?.(asked.length),
      beginsInSec: options.beginsInSec,
    });
    const name = options.accessToken ? 'access_token' : 'token';
    response
      .writeHead(200, { 'content-type': 'application/json' })
      .end(JSON.stringify({ [name]: token, expires_in: 300 }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    realm: `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`,
    service,
    certificate,
    asked,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Names may hold colons, so the first and the last one count. Who is not known may only pull. */
function scopeAccess(scope: string, known: boolean): object {
  const [type, rest] = [scope.slice(0, scope.indexOf(':')), scope.slice(scope.indexOf(':') + 1)];
  const actions = rest.slice(rest.lastIndexOf(':') + 1).split(',');
  const name = rest.slice(0, rest.lastIndexOf(':'));
  return { type, name, actions: known ? actions : actions.filter((action) => action === 'pull') };
}

/** Distribution takes a token so long before its begin and after its end. */
const LEEWAY_SEC = 60;

function signToken(of: {
  readonly key: string;
  readonly certificate: string;
  readonly service: string;
  readonly access: object[];
  readonly lifetimeSec: number | undefined;
  readonly beginsInSec: number | undefined;
}): string {
  const der = readFileSync(of.certificate, 'utf8').replace(/-----[A-Z ]+-----|\s/g, '');
  const now = Math.floor(Date.now() / 1000);
  const header = { alg: 'RS256', typ: 'JWT', x5c: [der] };
  const claims = {
    iss: 'naiad-test',
    sub: 'x',
    aud: of.service,
    exp: of.lifetimeSec === undefined ? now + 300 : Math.round(Date.now() / 1000) + of.lifetimeSec - LEEWAY_SEC,
    nbf: of.beginsInSec === undefined ? now - 2 * LEEWAY_SEC : now + LEEWAY_SEC + of.beginsInSec,
    iat: now + (of.beginsInSec ?? 0),
    jti: randomUUID(),
  };
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${encode(header)}.${encode({ ...claims, access: of.access })}`;
  return `${text}.${createSign('RSA-SHA256').update(text).sign(readFileSync(of.key)).toString('base64url')}`;
}
