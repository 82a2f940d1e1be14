// The trace of a mount that is served now.

import { NaiadError } from '../base/errors.ts';
import { parseTraceFile, type Trace } from '../format/trace/trace.ts';
import { daemonPaths } from '../store/paths.ts';
import { callDaemon, type RecordedAnswer } from './mount-api.ts';
import { resolveMountpoint } from './mountpoint.ts';
import { listMounts } from './mounts.ts';
import { stateRoot } from './state-root.ts';

export interface TraceOfMount {
  readonly trace: Trace;
  /** Of the monotonic clock: when the mount could be used. */
  readonly sinceMs: number;
}

/** Asks the daemon of `state` for what the mount `id` has recorded. @throws NaiadError NOT_MOUNTED, DAEMON_MISSING */
export async function traceOfMount(state: string, id: string): Promise<TraceOfMount> {
  const path = `/v1/mounts/${id}/trace`;
  const answer = await callDaemon<RecordedAnswer>(daemonPaths(state).socket, { method: 'GET', path });
  if (!answer) throw new NaiadError('DAEMON_MISSING', `no daemon serves ${state}`);
  return { trace: parseTraceFile(Buffer.from(answer.trace)), sinceMs: answer.sinceMs };
}

/** What the mount on `directory` has recorded. @throws NaiadError NOT_MOUNTED */
export async function traceOfDirectory(directory: string): Promise<TraceOfMount> {
  const mountpoint = resolveMountpoint(directory);
  const found = (await listMounts()).find(({ mount }) => mount.mountpoint === mountpoint);
  if (found) return await traceOfMount(stateRoot(), found.mount.id);
  throw new NaiadError('NOT_MOUNTED', `no image is mounted on ${mountpoint}`, { hint: 'naiad status lists them all.' });
}
