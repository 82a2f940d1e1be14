// The daemon as its clients find it: asked over its socket, and started when none runs.
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { signalProcess } from '../base/child-process.ts';
import { throwIfAborted } from '../base/concurrency.ts';
import { hasCode, NaiadError } from '../base/errors.ts';
import { isAlive, type ProcessIdentity } from '../base/process-identity.ts';
import { systemError } from '../base/system-error.ts';
import { askKeeper, requireVersion } from '../keeper/attached.ts';
import { replaceProcess } from '../native/process.ts';
import { readOwner } from '../store/owner-lock.ts';
import { daemonPaths } from '../store/paths.ts';
import { awaitDaemon, DAEMON_STATUS } from './find-daemon.ts';
import { type ApiCall, callDaemon, type DaemonStatus, type MountStatus } from './mount-api.ts';
import { isServed, mountIdOf, readRecord } from './mount-record.ts';
import { absoluteRequest, type MountRequest } from './mount-request.ts';
import { mountAt } from './mount-table.ts';
import { checkMountpoint } from './mountpoint.ts';
import { cleanDead } from './recover.ts';
import { stateRoot } from './state-root.ts';
import { decodeError, type WireError } from './wire-error.ts';

/** What a daemon that was started here tells its parent, once. */
export type DaemonOutcome = { readonly ready: true } | { readonly busy: true } | { readonly error: WireError };

const DAEMON_MAIN = fileURLToPath(new URL('../../cli/daemon.js', import.meta.url));
/** Daemons may end, and others be starting, while we look. */
const ATTEMPTS_MAX = 5;
const ATTEMPT_PAUSE_MS = 50;
const CANCEL_WAIT_MS = 15_000;
const STOP_WAIT_MS = 30_000;
const FOLLOW_INTERVAL_MS = 250;
/** Seconds: long enough for a next command, short enough not to stay behind. */
const IDLE_SEC_DEFAULT = 60;

/** How a daemon in the background is to be. */
export interface DaemonSettings {
  /** Seconds without a mount after which it ends; undefined: never. */
  readonly idleSec?: number | undefined;
  readonly log?: {
    readonly level: 'error' | 'warn' | 'info' | 'debug' | 'trace';
    readonly format: 'json' | 'text';
    /** daemon.log of the state directory when left out. */
    readonly file?: string | undefined;
  };
}

/** Asks the daemon of `state`; one is started first if none runs. @throws NaiadError DAEMON_FAILED, what it answers. */
export async function askDaemon<T>(state: string, call: ApiCall): Promise<T> {
  const end = Date.now() + STOP_WAIT_MS;
  for (let attempt = 0; attempt < ATTEMPTS_MAX; ) {
    await ensureDaemon(state);
    throwIfAborted(call.signal);
    try {
      const answer = await callDaemon<T>(daemonPaths(state).socket, call);
      if (answer !== undefined) return answer;
      attempt++;
    } catch (error) {
      // One that is ending takes nothing more, and makes room in a moment.
      if (!hasCode(error, 'DAEMON_MISSING') || Date.now() > end) throw error;
    }
    await sleep(ATTEMPT_PAUSE_MS);
  }
  throw new NaiadError('DAEMON_FAILED', `the daemon ends before it answers; ${lastWords(daemonPaths(state).log)}`);
}

/** Starts the daemon of `state` unless one runs. @throws NaiadError DAEMON_FAILED, DAEMON_RUNNING. */
async function ensureDaemon(state: string): Promise<DaemonStatus> {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const status = await awaitDaemon(state);
    if (status && sharesMounts(status)) return status;
    // One that has nothing to do there makes room.
    if (status) await stopDaemon();
    await launchDaemon(state, { idleSec: Number(process.env.NAIAD_DAEMON_IDLE ?? IDLE_SEC_DEFAULT) });
  }
  throw new NaiadError('DAEMON_FAILED', `the daemon of ${state} does not come up`, {
    hint: `${daemonPaths(state).log} has what it said.`,
  });
}

/** True when what it mounts is seen here. @throws NaiadError DAEMON_RUNNING when it is not, and has to stay. */
function sharesMounts({ mountNamespace, mounts, idleSec, process: { pid }, state }: DaemonStatus): boolean {
  if (mountNamespace === mountNamespaceOf()) return true;
  if (mounts === 0 && idleSec !== undefined) return false;
  throw new NaiadError('DAEMON_RUNNING', `process ${pid} serves ${state} in another mount namespace`, {
    hint: 'Set NAIAD_STATE and NAIAD_CACHE to directories for this namespace.',
  });
}

/** The mount namespace of this process, as /proc names it. */
export function mountNamespaceOf(): string {
  return readlinkSync('/proc/self/ns/mnt');
}

/** A program with its first arguments. */
export type DaemonProgram = readonly [string, ...string[]];

/** What serves in the background, as it is installed where this process came from. */
function daemonProgram(): DaemonProgram {
  return [process.execPath, ...NODE_OPTIONS, DAEMON_MAIN];
}

/** `program` with the arguments with which it serves `state`. */
export function daemonCommand(
  state: string,
  settings: DaemonSettings,
  program: DaemonProgram = daemonProgram(),
): [string, ...string[]] {
  return [...program, state, JSON.stringify(settings)];
}

/** Becomes what a daemon in the background is, Node's options for one included, unless this process is that already. */
export function becomeDaemonProcess(): void {
  if (NODE_OPTIONS.every((option) => process.execArgv.includes(option))) return;
  Object.assign(process.env, POOL);
  replaceProcess([process.execPath, ...NODE_OPTIONS, ...process.execArgv, ...process.argv.slice(1)]);
}

/** Starts a daemon that outlives this process, and returns when it answers or another one was faster. */
async function launchDaemon(state: string, settings: DaemonSettings): Promise<'ready' | 'busy'> {
  const { log } = daemonPaths(state);
  const logFd = openLog(state, log);
  const [program, ...args] = daemonCommand(state, settings);
  const child = spawn(program, args, {
    cwd: '/', // Holding the caller's directory would keep it from being unmounted.
    env: { ...process.env, NAIAD_STATE: state, ...POOL },
    detached: true,
    stdio: ['ignore', logFd, logFd, 'ipc'],
  });
  closeSync(logFd);
  const outcome = await new Promise<DaemonOutcome | undefined>((resolve, reject) => {
    child.once('message', (message) => resolve(message as DaemonOutcome));
    child.once('disconnect', () => resolve(undefined)); // After all that it said.
    child.once('error', (error) => reject(systemError(error, process.execPath)));
  });
  child.unref();
  if (child.connected) child.disconnect();
  if (!outcome) throw new NaiadError('DAEMON_FAILED', `the daemon died while it started; ${lastWords(log)}`);
  if ('error' in outcome) throw decodeError(outcome.error);
  if ('ready' in outcome) return 'ready';
  await sleep(ATTEMPT_PAUSE_MS);
  return 'busy';
}

/** Starts a daemon in the background. @throws NaiadError DAEMON_RUNNING, DAEMON_FAILED. */
export async function startDaemon(settings: DaemonSettings): Promise<void> {
  const state = stateRoot();
  if ((await launchDaemon(state, settings)) === 'ready') return;
  const { process: owner } = await runningDaemon();
  throw daemonRunning(owner.pid, state);
}

export function daemonRunning(pid: number, state: string): NaiadError {
  return new NaiadError('DAEMON_RUNNING', `process ${pid} is the daemon of ${state}`, {
    hint: 'naiad daemon status tells about it, naiad daemon stop ends it.',
  });
}

/** The daemon of this state directory; one that is on its way is waited for. @throws NaiadError DAEMON_MISSING. */
export async function runningDaemon(): Promise<DaemonStatus> {
  const state = stateRoot();
  const status = await awaitDaemon(state);
  if (status) return status;
  throw new NaiadError('DAEMON_MISSING', `no daemon serves ${state}`, {
    hint: 'naiad mount starts one by itself; naiad daemon starts one that stays.',
  });
}

/**
 * Puts a new daemon in the place of the one that runs; mounts whose driver can are handed over. Resolves when the new one
 * answers. @throws NaiadError DAEMON_MISSING when none runs; KEEPER_VERSION, and then the one that runs goes on
 */
export async function upgradeDaemon(): Promise<DaemonStatus> {
  const state = stateRoot();
  const { process: before, idleSec } = await runningDaemon();
  const keeper = await askKeeper(daemonPaths(state).keeper);
  if (keeper) requireVersion(keeper);
  const body = { program: daemonProgram() };
  await callDaemon(daemonPaths(state).socket, { ...DAEMON_STATUS, method: 'POST', path: '/v1/daemon/handover', body });
  if (!(await ends(before))) throw new NaiadError('DAEMON_FAILED', `process ${before.pid} does not end`);
  // The keeper starts one at once; where nothing needs a keeper, nobody does.
  const successor = await awaitDaemon(state);
  if (successor) return successor;
  await launchDaemon(state, { idleSec });
  return await runningDaemon();
}

/** Has the daemon unmount everything and end, and returns when it is gone; false when there was none. */
export async function stopDaemon(): Promise<boolean> {
  const state = stateRoot();
  const { lock, log, socket } = daemonPaths(state);
  for (let stopped = false; ; stopped = true) {
    // Should one be killed while it ends, the next one ends instead of it.
    const status = await awaitDaemon(state, STOP_WAIT_MS);
    const owner = status?.process ?? readOwner(lock);
    if (!owner || !isAlive(owner)) return stopped;
    const asked = await callDaemon(socket, { ...DAEMON_STATUS, method: 'POST', path: '/v1/daemon/stop' });
    if (asked === undefined && isAlive(owner)) signalProcess(owner.pid, 'SIGTERM'); // Just starting, or ending.
    if (await ends(owner)) continue;
    throw new NaiadError('IO', `process ${owner.pid}, the daemon of ${state}, does not end`, {
      hint: `${log} may say why; kill -9 ${owner.pid} ends it, naiad umount --all cleans up.`,
    });
  }
}

/**
 * Stands by the daemon of this state directory until it is gone. True when another one is due: it died, handed over, or had
 * nothing to do. False when it was to end: it was asked to, or this process by `signal`, which then asks it.
 */
export async function followDaemon(signal: AbortSignal): Promise<boolean> {
  const state = stateRoot();
  const status = await awaitDaemon(state);
  if (!status) return true;
  while (!signal.aborted && isAlive(status.process)) {
    await sleep(FOLLOW_INTERVAL_MS, undefined, { signal }).catch(() => undefined);
  }
  if (signal.aborted) {
    await stopDaemon();
    return false;
  }
  // Who ends in good order takes its lock away.
  return status.idleSec !== undefined || readOwner(daemonPaths(state).lock) !== undefined;
}

async function ends(daemon: ProcessIdentity): Promise<boolean> {
  for (const end = Date.now() + STOP_WAIT_MS; Date.now() < end; await sleep(10)) if (!isAlive(daemon)) return true;
  return false;
}

/** A daemon lives long and mostly waits: a small young generation keeps it small. */
const NODE_OPTIONS = ['--max-semi-space-size=1', '--expose-gc'] as const;
/** Threads that wait for a disk, or for a mount of the daemon itself, must not be all there are. */
const POOL = { UV_THREADPOOL_SIZE: '12' } as const;

function openLog(state: string, path: string): number {
  try {
    mkdirSync(state, { recursive: true, mode: 0o700 });
    return openSync(path, 'a', 0o600);
  } catch (error) {
    throw systemError(error, path, 'Run as root, or set NAIAD_STATE to a directory you can write.');
  }
}

function lastWords(log: string): string {
  let said = '';
  try {
    said = readFileSync(log, 'utf8').trim().split('\n').slice(-5).join('\n');
  } catch {
    // It said nothing.
  }
  return said === '' ? 'it said nothing' : `it said last: ${said}`;
}

/**
 * Has the daemon mount, and returns when the mount can be used. After `signal` it waits until nothing of it is left.
 * @throws the NaiadError of the daemon; CANCELED.
 */
export async function startMount(request: MountRequest, signal: AbortSignal): Promise<MountStatus> {
  const absolute = absoluteRequest(request);
  const { mountpoint } = absolute;
  const state = stateRoot();
  const id = mountIdOf(mountpoint);
  const before = readRecord(state, id);
  // Else the daemon, when it is started for this, would bring back what was there.
  if (before && !isServed(before) && !(await awaitDaemon(state))) await cleanDead(state, before);
  else if (!before && !mountAt(mountpoint)) await checkMountpoint(mountpoint);
  const requestId = randomUUID();
  const body = { ...absolute, requestId };
  try {
    return await askDaemon<MountStatus>(state, { method: 'POST', path: '/v1/mounts', body, signal });
  } catch (error) {
    // The daemon sees that nobody waits any more, and takes back what it began.
    const isLeft = () => readRecord(state, id)?.request?.requestId === requestId;
    for (const end = Date.now() + CANCEL_WAIT_MS; signal.aborted && isLeft() && Date.now() < end; ) await sleep(20);
    throw error;
  }
}
