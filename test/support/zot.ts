// zot, where it is on PATH: a registry that knows OCI's media types only, and lists referrers itself.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bcryptHash, type ServerOptions, startServer, type TestRegistry } from './servers.ts';

/** Redirects are not among what it does: what `redirectTo` asks for is up to a server before it. */
export async function startZot(options: ServerOptions): Promise<TestRegistry> {
  return await startServer(options, (root, _, port) => {
    const config = join(root, 'config.json');
    writeFileSync(config, JSON.stringify(zotConfig(root, port, options)));
    return ['zot', 'serve', config];
  });
}

function zotConfig(root: string, port: number, { account, token, tls, cacheOf }: ServerOptions): object {
  const http: Record<string, unknown> = { address: '127.0.0.1', port: String(port) };
  if (account) {
    writeFileSync(join(root, 'htpasswd'), `${account.user}:${bcryptHash(account.password)}\n`);
    http.auth = { htpasswd: { path: join(root, 'htpasswd') } };
  }
  if (token) http.auth = { bearer: { realm: token.realm, service: token.service, cert: token.certificate } };
  if (tls) {
    http.tls = { cert: tls.certificate, key: tls.key, ...(tls.clientAuthority && { cacert: tls.clientAuthority }) };
  }
  const upstream = { urls: [cacheOf], onDemand: true, tlsVerify: false, content: [{ prefix: '**' }] };
  return {
    distSpecVersion: '1.1.1',
    storage: { rootDirectory: join(root, 'data') },
    http,
    log: { level: 'warn' },
    ...(cacheOf && { extensions: { sync: { enable: true, registries: [upstream] } } }),
  };
}
