// The daemon's API as its clients see it: HTTP and JSON on a Unix socket. docs/reference/daemon-api.md describes it.
import { request } from 'node:http';
import type { FetchScheduler } from '../backend/fetch-scheduler.ts';
import { abortReason } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import type { ProcessIdentity } from '../base/process-identity.ts';
import { type SocketPath, shortSocketPath } from '../base/socket-path.ts';
import { systemError } from '../base/system-error.ts';
import type { ContainerUser } from '../container/container-user.ts';
import type { ImageConfig } from '../format/oci/manifest.ts';
import type { KeeperState } from '../keeper/keeper.ts';
import type { SourceTraffic } from '../transport/transport.ts';
import type { FillStatus } from './background-fill.ts';
import type { DeviceCoverage, ImageFsCounters } from './image-fs.ts';
import type { MountRecord } from './mount-record.ts';
import { decodeError, type WireError } from './wire-error.ts';

/** When each part of a start was over. */
export interface StartTimes {
  /** The manifest was here. */
  readonly resolvedMs: number;
  /** Config and bootstrap were here and read. */
  readonly bootstrapMs: number;
  /** It could be used. */
  readonly mountedMs: number;
}

export interface MountStatus {
  readonly mount: MountRecord;
  readonly devices: readonly DeviceCoverage[];
  readonly counters: ImageFsCounters;
  /** Bytes of manifest, config and bootstrap that were fetched before the mount was ready. */
  readonly metadataBytes: number;
  /** What its registry was asked; undefined where there is none. */
  readonly traffic?: SourceTraffic | undefined;
  /** What was asked of its registry, for all mounts of the daemon, and what is known of the line to it. */
  readonly fetching: FetchingStatus;
  /** Why it is not as fast as it could be, in sentences; empty when it is. */
  readonly slow: readonly string[];
  /** How its start went, in milliseconds since it was asked for; not of one that was taken over. */
  readonly times?: StartTimes;
  /** What is fetched before it is read; once the mount is ready. */
  readonly prefetch?: FillStatus;
}

export interface FetchingStatus extends Pick<FetchScheduler, 'counters' | 'inFlight'> {
  /** As measured; undefined until enough was seen. */
  readonly bytesPerSec: number | undefined;
  readonly delayMs: number | undefined;
}

/** What `GET /v1/daemon` tells. */
export interface DaemonStatus {
  readonly version: string;
  readonly process: ProcessIdentity;
  /** ISO 8601. */
  readonly since: string;
  /** Absolute. */
  readonly state: string;
  /** As /proc names it: mounts of another namespace are not seen here. */
  readonly mountNamespace: string;
  /** Seconds without a mount after which it ends by itself; undefined when it stays. */
  readonly idleSec?: number | undefined;
  readonly mounts: number;
  /** Of those, mounts of a daemon before this one that are not taken over yet. */
  readonly resuming: number;
  /** The process that keeps events and descriptors of mounts; undefined when nothing needed one yet. */
  readonly keeper?: KeeperState | undefined;
  readonly rssBytes: number;
}

/** What `POST /v1/mounts/<id>/container` tells about the image of a mount. */
export interface ContainerFacts {
  /** Undefined for a bootstrap file. */
  readonly config?: ImageConfig['config'];
  readonly user: ContainerUser;
}

/** What `GET /v1/mounts/<id>/trace` tells. */
export interface RecordedAnswer {
  /** A trace file. */
  readonly trace: string;
  /** Of the machine's monotonic clock: when the mount could be used, from which the times in the trace count. */
  readonly sinceMs: number;
}

/** A call of the API. */
export interface ApiCall {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: object;
  /** Without one, waits for as long as the daemon works on it. */
  readonly timeoutMs?: number;
  /** Gives up waiting; the daemon sees that. */
  readonly signal?: AbortSignal;
}

/** Calls the API at `socketPath`. @throws what the other side threw; undefined when nobody listens. */
export async function callDaemon<T>(socketPath: string, call: ApiCall): Promise<T | undefined> {
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
      { socketPath, method: call.method, path: call.path, timeout: call.timeoutMs ?? 0, agent: false },
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
    const onAbort = () => {
      outgoing.destroy();
      reject(abortReason(call.signal));
    };
    call.signal?.addEventListener('abort', onAbort, { once: true });
    outgoing.on('close', () => call.signal?.removeEventListener('abort', onAbort));
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
