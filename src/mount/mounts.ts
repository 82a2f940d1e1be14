// All mounts of this machine's state directory, and ending them.
import { setTimeout as sleep } from 'node:timers/promises';
import { hasCode, NaiadError } from '../base/errors.ts';
import { daemonPaths } from '../store/paths.ts';
import { awaitDaemon } from './find-daemon.ts';
import { type ApiCall, callDaemon, type MountStatus } from './mount-api.ts';
import { isServed, listRecords, type MountRecord, mountIdOf, readRecord } from './mount-record.ts';
import { isOurs, mountAt } from './mount-table.ts';
import { resolveMountpoint } from './mountpoint.ts';
import { cleanDead, forgetGone } from './recover.ts';
import { stateRoot } from './state-root.ts';
import { unmount } from './unmount.ts';

const LIST: ApiCall = { method: 'GET', path: '/v1/mounts', timeoutMs: 5000 };
const UNMOUNT_TIMEOUT_MS = 60_000;
const END_WAIT_MS = 10_000;
/** `status` says that a daemon is not back yet rather than wait longer for it. */
const STATUS_WAIT_MS = 10_000;
const FOLLOW_INTERVAL_MS = 250;

export type ListedMount =
  | ({ readonly state: 'serving' } & MountStatus)
  /** `starting`: not ready yet. `dead`: its process is gone. `hung`: its process, or the keeper, does not answer. */
  | { readonly state: 'starting' | 'dead' | 'hung'; readonly mount: MountRecord; readonly hint: string };

/** Every mount, by mountpoint. Records that mean nothing any more are removed. */
export async function listMounts(): Promise<ListedMount[]> {
  const state = stateRoot();
  forgetGone(state);
  const served = listRecords(state).length > 0 ? await ask(state) : undefined;
  return listRecords(state).map((mount) => {
    const hint = `naiad umount ${mount.mountpoint}`;
    if (served instanceof NaiadError) return { state: 'hung', mount, hint: `${served.message}: ${served.hint}` };
    const status = served?.find(({ mount: { id } }) => id === mount.id);
    if (status) return { state: 'serving', ...status };
    if (!isServed(mount)) return { state: 'dead', mount, hint: deadHint(mount) };
    if (!mount.ready || mount.resuming !== undefined) return { state: 'starting', mount, hint };
    return { state: 'hung', mount, hint: `kill -9 ${mount.process.pid}; ${hint}` };
  });
}

function deadHint({ driver, mountpoint, ready }: MountRecord): string {
  const zeros = driver === 'erofs' && ready ? 'What is missing in the cache reads as zeros: end what uses it. ' : '';
  return `${zeros}naiad daemon mounts it anew, naiad umount ${mountpoint} removes it`;
}

/** One mount; undefined when no daemon answers for it. */
export async function mountStatus(state: string, id: string): Promise<MountStatus | undefined> {
  const served = await ask(state);
  return served instanceof NaiadError ? undefined : served?.find(({ mount }) => mount.id === id);
}

/** What the daemon serves, one that takes over when it has; undefined when there is none, or it does not answer, and why
 *  when none can come. */
async function ask(state: string): Promise<readonly MountStatus[] | NaiadError | undefined> {
  try {
    await awaitDaemon(state, STATUS_WAIT_MS);
    return await callDaemon<MountStatus[]>(daemonPaths(state).socket, LIST);
  } catch (error) {
    if (error instanceof NaiadError) return hasCode(error, 'KEEPER_HUNG') ? error : undefined;
    throw error;
  }
}

/**
 * Ends the mount on `directory`, served or left behind by a dead process, and returns when nothing of it is left.
 * @throws NaiadError NOT_MOUNTED, MOUNTPOINT_BUSY, what unmounting threw.
 */
export async function endMount(
  directory: string,
  options: { readonly lazy: boolean },
): Promise<MountRecord | undefined> {
  const state = stateRoot();
  const mountpoint = resolveMountpoint(directory);
  const record = readRecord(state, mountIdOf(mountpoint));
  if (!record) {
    // Its record was lost, or it was mounted with another state directory.
    if (!isOurs(mountAt(mountpoint))) {
      throw new NaiadError('NOT_MOUNTED', `no image is mounted on ${mountpoint}`, {
        hint: 'naiad status lists them all.',
      });
    }
    await unmount(mountpoint, options);
    return undefined;
  }
  await endRecorded(state, record, options);
  return record;
}

/** Ends every mount. Returns one entry each, with what went wrong. */
export async function endAllMounts(options: {
  readonly lazy: boolean;
}): Promise<{ mount: MountRecord; error?: NaiadError }[]> {
  const state = stateRoot();
  const results: { mount: MountRecord; error?: NaiadError }[] = [];
  // The last one first: an image may be mounted on a directory of another.
  for (const mount of listRecords(state).reverse()) {
    try {
      await endRecorded(state, mount, options);
      results.push({ mount });
    } catch (error) {
      if (!(error instanceof NaiadError)) throw error;
      results.push({ mount, error });
    }
  }
  return results;
}

/** Whoever serves the mount ends it: the daemon that runs, or the one that the keeper starts in place of a dead one. */
async function endRecorded(state: string, record: MountRecord, options: { readonly lazy: boolean }): Promise<void> {
  const path = `/v1/mounts/${record.id}/unmount`;
  const call: ApiCall = { method: 'POST', path, body: options, timeoutMs: UNMOUNT_TIMEOUT_MS };
  const current = () => {
    const found = readRecord(state, record.id);
    return found?.since === record.since ? found : undefined;
  };
  for (const end = Date.now() + END_WAIT_MS; Date.now() < end; await sleep(20)) {
    if (!current()) return;
    // One that hangs is found out soon; one that answers may take its time to unmount.
    const answering = await awaitDaemon(state).catch((error) => {
      throw hasCode(error, 'IO') ? hung(current() ?? record, error) : error;
    });
    if (!answering) break;
    try {
      if (await callDaemon<object>(daemonPaths(state).socket, call)) return;
    } catch (error) {
      if (!hasCode(error, 'NOT_MOUNTED')) throw error;
    }
    // It ended by itself, or it is nobody's.
    const left = current();
    if (left && !isServed(left)) break;
  }
  const left = current();
  if (left && isServed(left)) throw hung(left);
  if (left) await cleanDead(state, left, options);
}

function hung({ process: { pid }, mountpoint }: MountRecord, cause?: unknown): NaiadError {
  return new NaiadError('IO', `process ${pid}, which serves ${mountpoint}, does not answer`, {
    hint: `kill -9 ${pid}; naiad umount ${mountpoint}`,
    ...(cause !== undefined && { cause }),
  });
}

/**
 * Stays until the mount is gone, however that happens; after `signal` ends it itself, if need be from under its users.
 * @throws NaiadError DAEMON_FAILED when the daemon died and nobody brings it back.
 */
export async function followMount({ mount }: MountStatus, signal: AbortSignal): Promise<void> {
  const state = stateRoot();
  const current = () => readRecord(state, mount.id);
  let deadSince: number | undefined;
  while (!signal.aborted) {
    const record = current();
    if (!record) return;
    deadSince = isServed(record) ? undefined : (deadSince ?? Date.now());
    if (deadSince !== undefined && Date.now() - deadSince > END_WAIT_MS) {
      throw new NaiadError('DAEMON_FAILED', `the daemon that served ${mount.mountpoint} is dead`, {
        hint: `naiad umount ${mount.mountpoint}, then mount again; ${daemonPaths(state).log} has what the daemon said.`,
      });
    }
    await sleep(FOLLOW_INTERVAL_MS, undefined, { signal }).catch(() => undefined);
  }
  try {
    await endMount(mount.mountpoint, { lazy: false });
  } catch (error) {
    if (hasCode(error, 'NOT_MOUNTED')) return;
    if (!hasCode(error, 'MOUNTPOINT_BUSY')) throw error;
    await endMount(mount.mountpoint, { lazy: true });
  }
}
