// Servers that benchmarks ask: docker-registry, naiad's own, and nginx as the storage that registries redirect to.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { signalChild } from '../base/child-process.ts';
import { NaiadError } from '../base/errors.ts';
import { NAIAD_COMMAND } from './command.ts';
import { freePort } from './free-port.ts';

export interface BenchServer extends AsyncDisposable {
  readonly name: string;
  /** `127.0.0.1:port`. */
  readonly host: string;
  /** Removes what was pushed; left out where nothing is. */
  empty?(): Promise<void>;
}

const START_MS = 20_000;

/**
 * An empty docker-registry over files in `dir`. `remembers` what it has in memory, as registries do; then nothing may be
 * removed from under it. @throws NaiadError COMMAND_FAILED where there is none
 */
export async function startDockerRegistry(
  dir: string,
  { signal, remembers }: { readonly signal: AbortSignal; readonly remembers: boolean },
): Promise<BenchServer> {
  const root = join(dir, 'registry');
  const host = `127.0.0.1:${await freePort()}`;
  const config = join(dir, 'registry.yml');
  await mkdir(root, { recursive: true });
  const cache = remembers ? ', cache: { blobdescriptor: inmemory }' : '';
  const lines = [
    'version: 0.1',
    'log: { level: error, accesslog: { disabled: true } }',
    `storage: { filesystem: { rootdirectory: ${root} }${cache} }`,
    `http: { addr: "${host}", secret: bench }`,
  ];
  await writeFile(config, lines.join('\n'));
  const stop = await startServer('docker-registry', ['serve', config], host, signal);
  return {
    ...{ name: 'docker-registry', host },
    ...(!remembers && { empty: () => rm(join(root, 'docker'), { recursive: true, force: true }) }),
    [Symbol.asyncDispose]: stop,
  };
}

/** naiad's own registry over files in `dir`. @throws NaiadError COMMAND_FAILED */
export async function startOwnRegistry(dir: string, signal: AbortSignal): Promise<BenchServer> {
  const root = join(dir, 'registry');
  const host = `127.0.0.1:${await freePort()}`;
  const args = [NAIAD_COMMAND, 'registry', 'serve', '--root', root, '--listen', host];
  const stop = await startServer(process.execPath, args, host, signal);
  return { name: 'naiad registry serve', host, [Symbol.asyncDispose]: stop };
}

/** nginx, which gives out the blobs of the OCI layout in `layout`. @throws NaiadError COMMAND_FAILED where there is none */
export async function startNginx(dir: string, layout: string, signal: AbortSignal): Promise<BenchServer> {
  const own = join(dir, 'nginx');
  const host = `127.0.0.1:${await freePort()}`;
  const config = join(dir, 'nginx.conf');
  await mkdir(own, { recursive: true });
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${own}/${name};`,
  );
  await writeFile(
    config,
    `daemon off; worker_processes auto; pid ${own}/pid; error_log ${own}/error.log;
     ${process.geteuid?.() === 0 ? 'user root;' : ''}
     events { worker_connections 256; }
     http {
       access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; ${temporary.join(' ')}
       server {
         listen ${host};
         location ~ ^/v2/bench/blobs/sha256:([0-9a-f]+)$ { alias ${layout}/blobs/sha256/$1; }
         location = /v2/ { return 200; }
       }
     }`,
  );
  return {
    name: 'nginx',
    host,
    [Symbol.asyncDispose]: await startServer('nginx', ['-p', own, '-c', config], host, signal),
  };
}

/** Starts a server, out of reach of Ctrl-C, and waits until it listens; returns what stops it. */
async function startServer(
  command: string,
  args: readonly string[],
  host: string,
  signal: AbortSignal,
): Promise<() => Promise<void>> {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-1000);
  });
  const ended = new Promise<void>((resolve) => {
    child.on('error', (error) => {
      said = error.message;
      resolve();
    });
    child.on('close', () => resolve());
  });
  const stop = async () => {
    signalChild(child, 'SIGTERM');
    await ended;
  };
  if (await listens(child, Number(host.split(':')[1]), signal)) return stop;
  await stop();
  throw new NaiadError('COMMAND_FAILED', `${command} does not run: ${said.trim().split('\n').at(-1)}`);
}

async function listens(child: ChildProcess, port: number, signal: AbortSignal): Promise<boolean> {
  for (const end = Date.now() + START_MS; Date.now() < end && !signal.aborted; await sleep(30)) {
    if (child.pid === undefined || child.exitCode !== null) return false;
    const socket = connect(port, '127.0.0.1');
    const connected = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (connected) return true;
  }
  return false;
}
