// All mounts of this machine's state directory, and ending them.
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { hasCode, NaiadError } from '../base/errors.ts';
import { mountPaths } from '../store/paths.ts';
import { callMountApi, type MountStatus } from './mount-api.ts';
import { isServed, listRecords, type MountRecord, mountIdOf, readRecord } from './mount-record.ts';
import { mountAt } from './mount-table.ts';
import { resolveMountpoint } from './mountpoint.ts';
import { cleanDead, forgetGone } from './recover.ts';
import { stateRoot } from './state-root.ts';
import { unmount } from './unmount.ts';

const ASK = { method: 'GET', path: '/v1/status', timeoutMs: 5000 } as const;
const UNMOUNT_TIMEOUT_MS = 60_000;

export type ListedMount =
  | ({ readonly state: 'serving' } & MountStatus)
  /** `starting`: not ready yet. `dead`: its process is gone. `hung`: its process does not answer. */
  | { readonly state: 'starting' | 'dead' | 'hung'; readonly mount: MountRecord; readonly hint: string };

/** Every mount, by mountpoint. Records that mean nothing any more are removed. */
export async function listMounts(): Promise<ListedMount[]> {
  const state = stateRoot();
  forgetGone(state);
  return await Promise.all(listRecords(state).map((record) => look(state, record)));
}

async function look(state: string, mount: MountRecord): Promise<ListedMount> {
  const hint = `naiad umount ${mount.mountpoint}`;
  if (!isServed(mount)) return { state: 'dead', mount, hint };
  if (!mount.ready) return { state: 'starting', mount, hint };
  try {
    const status = await callMountApi<MountStatus>(mountPaths(state, mount.id).socket, ASK);
    if (status) return { state: 'serving', ...status };
  } catch (error) {
    if (!(error instanceof NaiadError)) throw error;
  }
  return { state: 'hung', mount, hint: `kill -9 ${mount.process.pid}; ${hint}` };
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
    if (mountAt(mountpoint)?.source !== 'naiad') {
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

async function endRecorded(state: string, record: MountRecord, options: { readonly lazy: boolean }): Promise<void> {
  if (isServed(record)) {
    const call = { method: 'POST', path: '/v1/unmount', body: options, timeoutMs: UNMOUNT_TIMEOUT_MS } as const;
    if (!record.ready) {
      process.kill(record.process.pid, 'SIGTERM');
      await waitUntilGone(state, record);
      return;
    }
    const { socket } = mountPaths(state, record.id);
    // One that hangs is found out soon; one that answers may take its time to unmount.
    const answering = await callMountApi<MountStatus>(socket, ASK).catch((error) => {
      throw hasCode(error, 'IO') ? hung(record, error) : error;
    });
    if (answering && (await callMountApi<object>(socket, call))) {
      await waitUntilGone(state, record);
      return;
    }
    // It is ending by itself, or just died.
    await sleep(100);
    if (isServed(record)) {
      await waitUntilGone(state, record);
      return;
    }
  }
  if (existsSync(mountPaths(state, record.id).record)) await cleanDead(state, record, options);
}

/** A process may live on after its mount, to bring its cache to disk or to serve the last users of a lazy unmount. */
async function waitUntilGone(state: string, record: MountRecord): Promise<void> {
  const { record: path } = mountPaths(state, record.id);
  const gone = () => !isServed(record) || !existsSync(path) || readRecord(state, record.id)?.since !== record.since;
  for (const end = Date.now() + UNMOUNT_TIMEOUT_MS; Date.now() < end; await sleep(20)) if (gone()) return;
  throw hung(record);
}

function hung({ process: { pid }, mountpoint }: MountRecord, cause?: unknown): NaiadError {
  return new NaiadError('IO', `process ${pid}, which serves ${mountpoint}, does not answer`, {
    hint: `kill -9 ${pid}; naiad umount ${mountpoint}`,
    ...(cause !== undefined && { cause }),
  });
}
