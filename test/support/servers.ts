// Real registries for tests, each on a random loopback port over storage of its own that goes away with it.
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { signalChild } from '../../src/base/child-process.ts';
import { findProgram, type Requirement, requirement } from './requires.ts';

export interface TestRegistry extends AsyncDisposable {
  /** `127.0.0.1:port`, as references name it. */
  readonly host: string;
  readonly url: string;
  /** Where the registry keeps its files. */
  readonly root: string;
}

/** How a registry is set up; each of them is a program of its own, or `docker-registry` when nothing is said. */
export interface ServerOptions {
  /** Asks for Basic authentication with this one account. */
  readonly account?: { readonly user: string; readonly password: string } | undefined;
  /** Asks for tokens of this server; `certificate` is the path of what signed them. */
  readonly token?: { readonly realm: string; readonly service: string; readonly certificate: string } | undefined;
  /** Sends readers of blobs here, with a 307. */
  readonly redirectTo?: string | undefined;
  /** Paths of PEM files; with `clientAuthority` clients must have a certificate of it. */
  readonly tls?:
    | { readonly certificate: string; readonly key: string; readonly clientAuthority?: string | undefined }
    | undefined;
  /** Fetches what it does not have from this registry, and takes no pushes. */
  readonly cacheOf?: string | undefined;
}

export function dockerRegistry(): Requirement {
  return requirement('docker-registry', () => {
    return findProgram('docker-registry') ? undefined : 'docker-registry is not on PATH';
  });
}

/** Debian's docker-registry needs bcrypt for its passwords; Perl's crypt is libxcrypt's, which has it. */
export function bcrypt(): Requirement {
  return requirement('bcrypt', () => {
    if (!findProgram('perl')) return 'perl is not on PATH';
    return bcryptHash('x').startsWith('$2y$') ? undefined : "this system's crypt(3) has no bcrypt";
  });
}

/** As htpasswd files hold it. */
export function bcryptHash(password: string): string {
  const salt = `$2y$05$${randomBytes(16).toString('hex').slice(0, 21)}u`;
  return execFileSync('perl', ['-e', 'print crypt($ARGV[0], $ARGV[1])', '--', password, salt], { encoding: 'utf8' });
}

/** Starts Debian's `docker-registry` and waits until it answers. */
export async function startDockerRegistry(options: ServerOptions = {}): Promise<TestRegistry> {
  return await startDistribution('docker-registry', options);
}

/** Starts Distribution: `docker-registry` is its version 2 as Debian has it, `registry` the name it has from its makers. */
export async function startDistribution(
  program: 'docker-registry' | 'registry',
  options: ServerOptions,
): Promise<TestRegistry> {
  return await startServer(options, (root, host) => {
    const config = join(root, 'config.yml');
    writeFileSync(config, dockerRegistryConfig(root, host, options));
    return [program, 'serve', config];
  });
}

/** On a machine that is busy with other things. */
const START_WAIT_MS = 60_000;

/** Starts what `command` names, given a directory for its files and its address, and waits until it answers. */
export async function startServer(
  { tls }: ServerOptions,
  command: (root: string, host: string, port: number) => readonly [program: string, ...string[]],
): Promise<TestRegistry> {
  const root = mkdtempSync(join(tmpdir(), 'naiad-test-registry-'));
  const port = await freePort();
  const host = `127.0.0.1:${port}`;
  const [program, ...args] = command(root, host, port);
  const env = { ...process.env, OTEL_TRACES_EXPORTER: 'none' };
  const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      log = (log + text).slice(-4000);
    });
  }
  const exited = once(child, 'exit');
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      signalChild(child, 'SIGKILL');
      await exited;
    }
    rmSync(root, { recursive: true, force: true });
  };
  const url = `${tls ? 'https' : 'http'}://${host}`;
  try {
    const gone = () => child.exitCode !== null;
    if (tls) await waitUntilListens(port, gone);
    else await waitUntilAnswers(url, gone);
  } catch (error) {
    await stop();
    throw new Error(`${program} did not start: ${log}`, { cause: error });
  }
  return { host, url, root: join(root, 'data'), [Symbol.asyncDispose]: stop };
}

function dockerRegistryConfig(root: string, host: string, options: ServerOptions): string {
  const lines = [
    'version: 0.1',
    'log: { level: warn }',
    `storage: { filesystem: { rootdirectory: ${join(root, 'data')} }, delete: { enabled: true } }`,
    `http: { addr: "${host}", secret: fixed${tlsConfig(options.tls)} }`,
  ];
  if (options.cacheOf) lines.push(`proxy: { remoteurl: "${options.cacheOf}" }`);
  if (options.account) {
    const { user, password } = options.account;
    writeFileSync(join(root, 'htpasswd'), `${user}:${bcryptHash(password)}\n`);
    lines.push(`auth: { htpasswd: { realm: test, path: ${join(root, 'htpasswd')} } }`);
  }
  if (options.token) {
    const { realm, service, certificate } = options.token;
    lines.push(
      `auth: { token: { realm: "${realm}", service: "${service}", issuer: naiad-test, rootcertbundle: ${certificate} } }`,
    );
  }
  if (options.redirectTo) {
    lines.push(`middleware: { storage: [ { name: redirect, options: { baseurl: "${options.redirectTo}" } } ] }`);
  }
  return `${lines.join('\n')}\n`;
}

function tlsConfig(tls: ServerOptions['tls']): string {
  if (!tls) return '';
  const clients = tls.clientAuthority ? `, clientcas: ["${tls.clientAuthority}"]` : '';
  return `, tls: { certificate: "${tls.certificate}", key: "${tls.key}"${clients} }`;
}

/** Until a server takes connections; `gone` says that it ended. */
export async function waitUntilListens(port: number, gone: () => boolean): Promise<void> {
  const deadline = Date.now() + START_WAIT_MS;
  for (;;) {
    const socket = connect(port, '127.0.0.1');
    const connected = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (connected) return;
    if (gone() || Date.now() > deadline) throw new Error('it exited, or never listened');
    await sleep(30);
  }
}

/** Below the ports that the kernel gives to connections: none of those may take one before it is listened on. */
const PORTS = { first: 10_000, count: 20_000 };

/** A port of 127.0.0.1 that nobody has: others choose theirs at random as well. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = PORTS.first + randomInt(PORTS.count);
    const server = createServer();
    const listening = once(server, 'listening').then(
      () => true,
      () => false,
    );
    server.listen(port, '127.0.0.1');
    if (!(await listening)) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}

async function waitUntilAnswers(url: string, gone: () => boolean): Promise<void> {
  const deadline = Date.now() + START_WAIT_MS;
  for (;;) {
    try {
      const { status } = await fetch(`${url}/v2/`);
      if (status === 200 || status === 401) return;
    } catch (error) {
      if (gone() || Date.now() > deadline) throw error;
    }
    if (gone() || Date.now() > deadline) throw new Error('it exited, or never answered');
    await sleep(30);
  }
}
