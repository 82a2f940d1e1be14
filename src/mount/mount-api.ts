// The API of a process that serves mounts: HTTP and JSON on a Unix socket.
//   GET  /v1/status    MountStatus
//   POST /v1/unmount   { "lazy": false } -> {} once nothing is mounted any more, or the error
// Errors come with a status of 400 or above and { "code", "message", "hint", "causes" }.
import { once } from 'node:events';
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { NaiadError } from '../base/errors.ts';
import { systemError } from '../base/system-error.ts';
import type { DeviceCoverage, ImageFsCounters } from './image-fs.ts';
import type { MountRecord } from './mount-record.ts';
import { type SocketPath, shortSocketPath } from './socket-path.ts';
import { decodeError, encodeError, type WireError } from './wire-error.ts';

export interface MountStatus {
  readonly mount: MountRecord;
  readonly devices: readonly DeviceCoverage[];
  readonly counters: ImageFsCounters;
  /** Bytes of manifest, config and bootstrap that were fetched before the mount was ready. */
  readonly metadataBytes: number;
}

export interface MountService {
  status(): MountStatus;
  unmount(options: { lazy: boolean }): Promise<void>;
}

const BODY_SIZE_MAX = 64 * 1024;

/** Serves `service` at `socketPath` for this user alone. Disposing stops it and removes the socket. */
export async function serveMountApi(socketPath: string, service: MountService): Promise<AsyncDisposable> {
  const server = createServer((incoming, response) => {
    answer(incoming, service).then(
      (value) => send(response, 200, value),
      (error) => send(response, 409, encodeError(error)),
    );
  });
  let short: SocketPath | undefined;
  try {
    rmSync(socketPath, { force: true });
    short = shortSocketPath(socketPath);
    server.listen(short.path);
    await once(server, 'listening');
    chmodSync(socketPath, 0o600);
  } catch (error) {
    short?.[Symbol.dispose]();
    throw systemError(error, socketPath);
  }
  return {
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      server.closeIdleConnections();
      await closed;
      short[Symbol.dispose]();
      rmSync(socketPath, { force: true });
    },
  };
}

async function answer(incoming: IncomingMessage, service: MountService): Promise<unknown> {
  switch (`${incoming.method} ${incoming.url}`) {
    case 'GET /v1/status':
      return service.status();
    case 'POST /v1/unmount': {
      const options = await readBody(incoming);
      await service.unmount({ lazy: options.lazy === true });
      return {};
    }
    default:
      throw new NaiadError('USAGE', `no such call: ${incoming.method} ${incoming.url}`);
  }
}

async function readBody(incoming: IncomingMessage): Promise<Record<string, unknown>> {
  let text = '';
  for await (const piece of incoming.setEncoding('utf8')) {
    text += piece;
    if (text.length > BODY_SIZE_MAX) throw new NaiadError('LIMIT_EXCEEDED', 'the body of a call is too large');
  }
  try {
    const value: unknown = JSON.parse(text || '{}');
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new NaiadError('USAGE', 'the body of a call is no JSON object');
}

function send(response: ServerResponse, status: number, value: unknown): void {
  const body = JSON.stringify(value);
  response.writeHead(status, { 'content-type': 'application/json', connection: 'close' }).end(body);
}

interface ApiCall {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: object;
  readonly timeoutMs: number;
}

/** Calls the API at `socketPath`. @throws what the other side threw; undefined when nobody listens. */
export async function callMountApi<T>(socketPath: string, call: ApiCall): Promise<T | undefined> {
  let short: SocketPath;
  try {
    short = shortSocketPath(socketPath);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw systemError(error, socketPath);
  }
  try {
    return await exchange<T>(short.path, call);
  } finally {
    short[Symbol.dispose]();
  }
}

function exchange<T>(socketPath: string, call: ApiCall): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { socketPath, method: call.method, path: call.path, timeout: call.timeoutMs },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (piece: string) => {
          text += piece;
        });
        // Also when it ends too early: then it is no JSON.
        response.on('close', () => {
          if (!response.complete) return reject(new NaiadError('IO', `${socketPath}: the answer was cut short`));
          if (response.statusCode === 200) resolve(JSON.parse(text) as T);
          else reject(decodeError(JSON.parse(text) as WireError));
        });
      },
    );
    outgoing.on('timeout', () => {
      outgoing.destroy(new NaiadError('IO', `${socketPath}: no answer within ${call.timeoutMs} ms`));
    });
    outgoing.on('error', (error: NodeJS.ErrnoException) => {
      if (['ENOENT', 'ECONNREFUSED', 'ECONNRESET'].includes(error.code ?? '')) resolve(undefined);
      else reject(error instanceof NaiadError ? error : systemError(error, socketPath));
    });
    outgoing.end(call.body ? JSON.stringify(call.body) : undefined);
  });
}
