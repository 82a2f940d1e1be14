// The daemon of a state directory as others find it: there, on its way, or not there at all.
import { setTimeout as sleep } from 'node:timers/promises';
import { hasCode } from '../base/errors.ts';
import { isAlive } from '../base/process-identity.ts';
import { KEEPER_VERSION } from '../format/keeper/records.ts';
import { askKeeper } from '../keeper/attached.ts';
import { readOwner } from '../store/owner-lock.ts';
import { daemonPaths } from '../store/paths.ts';
import { type ApiCall, callDaemon, type DaemonStatus } from './mount-api.ts';

export const DAEMON_STATUS: ApiCall = { method: 'GET', path: '/v1/daemon', timeoutMs: 5000 };
/** For a daemon that starts on a machine that is busy with other things, and takes over many mounts. */
const DAEMON_WAIT_MS = 30_000;
const LOOK_INTERVAL_MS = 20;

/** The daemon of `state`, if one answers. @throws NaiadError IO when it hangs. */
export async function daemonStatus(state: string): Promise<DaemonStatus | undefined> {
  return await callDaemon<DaemonStatus>(daemonPaths(state).socket, DAEMON_STATUS);
}

/**
 * The daemon of `state`. One that is starting or ending is waited for, and one that the keeper brings back; undefined when
 * there is none, or none after `waitMs`.
 * @throws NaiadError IO when it hangs; KEEPER_HUNG when there is none, and the keeper that would start one hangs.
 */
export async function awaitDaemon(state: string, waitMs = DAEMON_WAIT_MS): Promise<DaemonStatus | undefined> {
  for (const end = Date.now() + waitMs; ; await sleep(LOOK_INTERVAL_MS)) {
    // In this order: one that appears in between is not missed.
    const expected = await isExpected(state);
    const status = await daemonStatus(state);
    if (status || !expected || Date.now() >= end) return status;
  }
}

/** True while a daemon of `state` lives, answering or not, or its keeper says that there will be one. */
async function isExpected(state: string): Promise<boolean> {
  const { lock, keeper } = daemonPaths(state);
  const owner = readOwner(lock);
  if (owner && isAlive(owner)) return true;
  try {
    const report = await askKeeper(keeper);
    if (!report) return false;
    // What it starts is of this version by now, and cannot be its daemon.
    return report.daemon === 1 || (report.restarts === 1 && report.version === KEEPER_VERSION);
  } catch (error) {
    if (hasCode(error, 'KEEPER_LOST')) return true; // It ended at this moment: look again.
    throw error;
  }
}
