// An OCI registry over a directory, for demonstrations, tests and machines without a network. No authentication: it is
// meant for loopback, or for a network where everyone may read and write.

import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { NaiadError } from '../base/errors.ts';
import { systemError } from '../base/system-error.ts';
import { makeDirectories } from '../store/directories.ts';
import { createSpool } from '../store/spool.ts';
import { type Answer, bytesAnswer } from './answer.ts';
import { Refusal } from './refusal.ts';
import { findRoute, type TrafficKind } from './routes.ts';
import { SharedLink, shaped } from './shaper.ts';
import { Storage } from './storage.ts';
import { Uploads } from './uploads.ts';

export interface RegistryServerOptions {
  /** Made when missing. Two servers may share it. */
  readonly root: string;
  /** An address of this machine. */
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Bytes a second, for all answers together. */
  readonly bandwidth?: number | undefined;
  /** Added before each answer. */
  readonly latencyMs?: number | undefined;
}

/** Since the server started. Bytes are those of bodies that left, broken answers as far as they got. */
export interface RegistryServerStats {
  readonly requests: Record<TrafficKind, number>;
  readonly bytesSent: Record<TrafficKind, number>;
}

export interface RegistryServer extends AsyncDisposable {
  /** `http://127.0.0.1:5000` */
  readonly url: string;
  /** `127.0.0.1:5000`, as references name it. */
  readonly host: string;
  /** A copy of the counters. */
  stats(): RegistryServerStats;
  /** Ends all connections and removes unfinished uploads. */
  close(): Promise<void>;
}

interface State {
  readonly storage: Storage;
  readonly uploads: Uploads;
  readonly link: SharedLink | undefined;
  readonly latencyMs: number;
  readonly stats: RegistryServerStats;
}

/** @throws NaiadError ADDRESS_BUSY, PERMISSION, IO, USAGE */
export async function startRegistry(options: RegistryServerOptions): Promise<RegistryServer> {
  await makeRoot(options.root);
  const spool = await createSpool(options.root);
  const storage = new Storage(options.root, spool.path);
  const uploads = new Uploads(storage);
  const none = () => ({ manifest: 0, blob: 0, upload: 0, other: 0 });
  const state: State = {
    storage,
    uploads,
    link: options.bandwidth ? new SharedLink(options.bandwidth) : undefined,
    latencyMs: options.latencyMs ?? 0,
    stats: { requests: none(), bytesSent: none() },
  };
  // Longer than clients keep idle connections, so that a request never meets a closing one; uploads take what they take.
  const server = createServer({ keepAliveTimeout: 75_000, requestTimeout: 0 }, (message, response) => {
    serve(state, message, response).catch(() => response.destroy());
  });
  try {
    await listen(server, options);
  } catch (error) {
    await spool[Symbol.asyncDispose]();
    throw error;
  }
  const { port } = server.address() as AddressInfo;
  const host = `${options.host.includes(':') ? `[${options.host}]` : options.host}:${port}`;
  const close = async () => {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
    await uploads[Symbol.asyncDispose]();
    await spool[Symbol.asyncDispose]();
  };
  return {
    url: `http://${host}`,
    host,
    stats: () => ({ requests: { ...state.stats.requests }, bytesSent: { ...state.stats.bytesSent } }),
    close,
    [Symbol.asyncDispose]: close,
  };
}

async function makeRoot(root: string): Promise<void> {
  try {
    await makeDirectories(root);
  } catch (error) {
    throw systemError(error, `making the registry root ${root}`);
  }
}

async function listen(server: Server, { host, port }: RegistryServerOptions): Promise<void> {
  const listening = once(server, 'listening');
  try {
    server.listen({ host, port });
    await listening;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const what = `cannot listen on ${host}:${port}`;
    if (code === 'EADDRINUSE') {
      const hint = 'Another program listens there; choose another port (0 takes a free one).';
      throw new NaiadError('ADDRESS_BUSY', `${what}: it is in use`, { hint, cause: error });
    }
    if (code === 'EACCES') {
      const hint = 'Ports below 1024 need root; choose a higher one.';
      throw new NaiadError('PERMISSION', `${what}: not allowed`, { hint, cause: error });
    }
    if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
      throw new NaiadError('USAGE', `${what}: this machine has no such address`, { cause: error });
    }
    throw new NaiadError('IO', `${what}: ${code}`, { cause: error });
  }
}

async function serve(state: State, message: IncomingMessage, response: ServerResponse): Promise<void> {
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  let kind: TrafficKind = 'other';
  let answer: Answer;
  try {
    if (state.latencyMs > 0) await sleep(state.latencyMs, undefined, { signal: gone.signal });
    const method = message.method ?? '';
    const url = new URL(message.url ?? '/', 'http://registry');
    const { route, repository } = findRoute(method, url.pathname);
    kind = route.kind;
    const { storage, uploads } = state;
    answer = await route.run({ storage, uploads, message, method, query: url.searchParams, repository });
  } catch (error) {
    answer = refusalAnswer(error, message.method);
  }
  state.stats.requests[kind]++;
  await send(state, kind, answer, message, response, gone.signal);
}

function refusalAnswer(error: unknown, method: string | undefined): Answer {
  // What went wrong inside is not the client's to read.
  const refusal = error instanceof Refusal ? error : new Refusal('UNKNOWN', 'the registry failed');
  return bytesAnswer(refusal.status, { 'content-type': 'application/json', ...refusal.headers }, refusal.body, method);
}

async function send(
  state: State,
  kind: TrafficKind,
  answer: Answer,
  message: IncomingMessage,
  response: ServerResponse,
  gone: AbortSignal,
): Promise<void> {
  // A body nobody wanted: reading gigabytes to keep the connection is not worth it.
  const unread = !message.readableEnded && message.headers['content-length'] !== '0' && hasBody(message);
  response.writeHead(answer.status, {
    ...answer.headers,
    'docker-distribution-api-version': 'registry/2.0',
    ...(unread ? { connection: 'close' } : {}),
  });
  if (answer.body) {
    const source = answer.body.open();
    for await (const piece of state.link ? shaped(source, state.link, gone) : source) {
      if (gone.aborted) return;
      state.stats.bytesSent[kind] += piece.length;
      if (!response.write(piece)) await drained(response, gone);
    }
  }
  response.end();
}

function hasBody(message: IncomingMessage): boolean {
  return message.headers['content-length'] !== undefined || message.headers['transfer-encoding'] !== undefined;
}

async function drained(response: ServerResponse, gone: AbortSignal): Promise<void> {
  if (gone.aborted) return;
  await once(response, 'drain', { signal: gone });
}
