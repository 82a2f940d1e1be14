// A daemon from its lock to its last mount: one a state directory.
import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { NaiadError } from '../base/errors.ts';
import { thisProcess } from '../base/process-identity.ts';
import { blakeLibrary, zstdLibrary } from '../codec/libraries.ts';
import { formatTrace } from '../format/trace/trace.ts';
import { containerFacts } from '../mount/container-facts.ts';
import type { FillRequest } from '../mount/fill-image.ts';
import type { DaemonStatus, RecordedAnswer } from '../mount/mount-api.ts';
import type { MountRequest } from '../mount/mount-request.ts';
import { cleanStaleRuns } from '../mount/run-container.ts';
import type { ServedMount } from '../mount/serve.ts';
import {
  type DaemonProgram,
  type DaemonSettings,
  daemonCommand,
  daemonRunning,
  mountNamespaceOf,
} from '../mount/start.ts';
import { stateRoot } from '../mount/state-root.ts';
import { preContentProblem } from '../native/keeper.ts';
import { takeOwnerLock } from '../store/owner-lock.ts';
import { cacheDir, daemonPaths } from '../store/paths.ts';
import { Daemon } from './daemon.ts';
import { type ApiServer, type Call, type Route, serveApi, TextAnswer } from './http-api.ts';
import type { Log } from './log.ts';
import { tuneMemory } from './memory.ts';
import { Metrics } from './metrics.ts';

export interface ServeDaemonOptions {
  readonly version: string;
  readonly log: Log;
  /** Seconds without a mount or a call after which it ends; undefined: never. */
  readonly idleSec?: number | undefined;
  /** How its successor logs; the file of the state directory when left out. */
  readonly settings?: DaemonSettings;
  /** Exit code of this process once it has handed over; 0 when left out. */
  readonly handedOverExit?: number;
  readonly signal: AbortSignal;
  /** Called once it answers. */
  readonly onReady: (status: DaemonStatus) => void;
}

const TICK_MS = 250;
/** Containers whose `naiad run` was killed are looked for so often. */
const STALE_RUNS_MS = 2000;

/**
 * Serves until `signal`, a call to stop, or idleness; then nothing of it is mounted.
 * @throws NaiadError DAEMON_RUNNING when another one serves the state directory.
 */
export async function serveDaemon(options: ServeDaemonOptions): Promise<void> {
  const { log } = options;
  const state = stateRoot();
  const paths = daemonPaths(state);
  const lock = takeOwnerLock(paths.lock);
  if ('owner' in lock) {
    throw daemonRunning(lock.owner.pid, state);
  }
  using _lock = lock;
  const settings = { ...options.settings, idleSec: options.idleSec };
  const done = tuneMemory();
  const metrics = new Metrics(options.version, done);
  const daemon = new Daemon({
    ...{ state, log, observer: metrics },
    command: daemonCommand(state, settings),
  });
  const stop = new AbortController();
  const onAbort = () => stop.abort(options.signal.reason);
  options.signal.addEventListener('abort', onAbort, { once: true });
  if (options.signal.aborted) onAbort();
  await daemon.recover();
  const status = statusOf(daemon, options);
  const api = await serveApi(paths.socket, routesOf({ daemon, metrics, status, stop }));
  log.info({ state, version: options.version }, 'serving');
  options.onReady(await status());
  const loading = preload();
  try {
    await untilOver(daemon, { api, lock, stop: stop.signal, idleSec: options.idleSec, log });
  } finally {
    await loading;
    const { reason: asked } = stop.signal;
    if (asked instanceof Handover) {
      await handOver(daemon, { api, log, command: daemonCommand(state, settings, asked.program) });
      process.exit(options.handedOverExit ?? 0);
    }
    log.info({ mounts: daemon.size }, 'stopping');
    await daemon.stop(reasonOf(stop.signal));
    await api[Symbol.asyncDispose]();
    log.info('stopped');
  }
}

/** What is told to those whose mount just begins. One that ends by itself makes room for the next, which they ask then. */
function reasonOf(stop: AbortSignal): NaiadError {
  if (!stop.aborted) return new NaiadError('DAEMON_MISSING', 'the daemon had nothing to do, and ends');
  return stop.reason instanceof NaiadError ? stop.reason : new NaiadError('CANCELED', 'the daemon was stopped');
}

/** What a first mount needs is loaded and tried before it is asked for: the HTTP client takes 60 ms, the usual codecs 50 ms. */
async function preload(): Promise<void> {
  try {
    await import('../transport/registry-transport.ts');
    blakeLibrary();
    zstdLibrary();
    let directory = cacheDir();
    while (!existsSync(directory)) directory = dirname(directory);
    preContentProblem(directory);
  } catch (error) {
    if (!(error instanceof NaiadError)) throw error; // Whoever needs it is told.
  }
}

/** Why the daemon ends, when another one is to go on. */
class Handover {
  /** The next one's; undefined for the same as this one's. */
  readonly program: DaemonProgram | undefined;

  constructor(program: DaemonProgram | undefined) {
    this.program = program;
  }
}

/** Leaves everything in place to the next one, which finds its records once this process has ended. */
async function handOver(
  daemon: Daemon,
  { api, log, command }: { readonly api: ApiServer; readonly log: Log; readonly command: readonly string[] },
): Promise<void> {
  log.info({ mounts: daemon.size }, 'handing over');
  await api[Symbol.asyncDispose]();
  await daemon.handOver(command);
}

interface Served {
  readonly daemon: Daemon;
  readonly metrics: Metrics;
  readonly status: () => Promise<DaemonStatus>;
  readonly stop: AbortController;
}

function statusOf(daemon: Daemon, { version, idleSec }: ServeDaemonOptions): () => Promise<DaemonStatus> {
  const fixed = {
    version,
    process: thisProcess(),
    since: new Date().toISOString(),
    state: daemon.state,
    mountNamespace: mountNamespaceOf(),
    idleSec,
  };
  return async () => {
    const keeper = await daemon.keeperState();
    return {
      ...{ ...fixed, mounts: daemon.size, resuming: daemon.resuming, rssBytes: process.memoryUsage.rss() },
      ...(keeper && { keeper }),
    };
  };
}

function routesOf({ daemon, metrics, status, stop }: Served): ReadonlyMap<string, Route> {
  return new Map<string, Route>([
    ['GET /metrics', async () => new TextAnswer(await metrics.text(daemon), metrics.contentType)],
    ['GET /v1/daemon', status],
    ['POST /v1/daemon/stop', () => stop.abort(new NaiadError('CANCELED', 'the daemon was asked to stop'))],
    ['POST /v1/daemon/handover', ({ body }) => stop.abort(new Handover(programOf(body)))],
    ['GET /v1/fills', () => daemon.fills],
    ['POST /v1/fills', ({ body, signal }) => daemon.fill(fillOf(body), signal)],
    ['GET /v1/mounts', () => daemon.list()],
    ['POST /v1/mounts', ({ body, signal }) => daemon.mount(requestOf(body), signal)],
    ['GET /v1/mounts/:id', ({ id }) => daemon.find(id).status()],
    ['GET /v1/mounts/:id/trace', ({ id }) => traceOf(daemon.find(id))],
    ['POST /v1/mounts/:id/unmount', ({ id, body }) => daemon.unmount(id, { lazy: body.lazy === true })],
    ['POST /v1/mounts/:id/container', ({ id, body }) => containerFacts(daemon.find(id), textOf(body, 'user'))],
  ]);
}

async function traceOf(mount: ServedMount): Promise<RecordedAnswer> {
  const { trace, sinceMs } = await mount.trace();
  return { trace: Buffer.from(formatTrace(trace)).toString(), sinceMs };
}

/** @throws NaiadError USAGE where `program` is not words. */
function programOf({ program }: Call['body']): DaemonProgram | undefined {
  if (program === undefined) return undefined;
  const words = Array.isArray(program) ? (program as readonly unknown[]) : [];
  const [first, ...rest] = words.filter((word): word is string => typeof word === 'string' && !word.includes('\0'));
  if (first !== undefined && rest.length + 1 === words.length) return [first, ...rest];
  throw new NaiadError('USAGE', '"program" is no list of words');
}

/** @throws NaiadError USAGE where the body is no request. */
function requestOf(body: Call['body']): MountRequest {
  const [image, mountpoint] = [textOf(body, 'image'), textOf(body, 'mountpoint')];
  if (image === undefined || mountpoint === undefined || resolve(mountpoint) !== mountpoint) {
    throw new NaiadError('USAGE', 'a mount needs "image" and "mountpoint", an absolute path');
  }
  return {
    ...(body as unknown as MountRequest),
    image,
    mountpoint,
    driver: (body.driver ?? 'auto') as MountRequest['driver'],
    readWrite: body.readWrite === true,
  };
}

/** @throws NaiadError USAGE where the body is no request. */
function fillOf(body: Call['body']): FillRequest {
  const [image, requestId] = [textOf(body, 'image'), textOf(body, 'requestId')];
  if (image === undefined || requestId === undefined) {
    throw new NaiadError('USAGE', 'what is to be fetched needs "image" and "requestId"');
  }
  return { ...(body as unknown as FillRequest), image, requestId };
}

function textOf(body: Call['body'], name: string): string | undefined {
  const value = body[name];
  if (value === undefined || typeof value === 'string') return value;
  throw new NaiadError('USAGE', `"${name}" is no text`);
}

interface Running {
  readonly api: ApiServer;
  readonly lock: { isHeld(): boolean };
  readonly stop: AbortSignal;
  readonly idleSec: number | undefined;
  readonly log: Log;
}

/** Resolves when it should end: asked to, idle for long enough, or its state directory gone. */
async function untilOver(daemon: Daemon, { api, lock, stop, idleSec, log }: Running): Promise<void> {
  let busyAt = performance.now();
  let runsAt = busyAt;
  while (!stop.aborted) {
    await sleep(TICK_MS, undefined, { signal: stop }).catch(() => undefined);
    const now = performance.now();
    if (daemon.size > 0 || api.active > 0) busyAt = now;
    if (idleSec !== undefined && now - busyAt >= idleSec * 1000) return;
    if (!api.isThere() || !lock.isHeld()) {
      log.error('the state directory was removed or taken by another daemon');
      return;
    }
    if (now - runsAt < STALE_RUNS_MS) continue;
    runsAt = now;
    await cleanStaleRuns(daemon.state);
  }
}
