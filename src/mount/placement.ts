// Where in the tree a mount is made: its mountpoint is claimed, the driver mounts there or in a place of ours, and what goes on
// top of that (an overlay, or a bind mount) makes it appear on the mountpoint.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { NaiadError } from '../base/errors.ts';
import type { Bootstrap } from '../image/bootstrap-reader.ts';
import { MS_BIND, mount as mountByKernel } from '../native/mount.ts';
import { mountPaths } from '../store/paths.ts';
import type { Spool } from '../store/spool.ts';
import { claimRecord, isServed, type MountRecord } from './mount-record.ts';
import type { MountRequest } from './mount-request.ts';
import { isOurs, mountAbove } from './mount-table.ts';
import { untilUnmounted } from './mount-watch.ts';
import { createParts, mountOverlay, planWritable } from './overlay.ts';
import { cleanDead } from './recover.ts';

/**
 * Takes the mountpoint of `record` for this process, after clearing away what a dead one left there. `state` is the directory
 * of the records, as below. @throws NaiadError MOUNTPOINT_BUSY
 */
export async function claimMountpoint(state: string, record: MountRecord): Promise<void> {
  for (let attempt = 0; attempt < 2; attempt++) {
    const other = claimRecord(state, record);
    if (!other) return;
    if (isServed(other)) {
      const what = other.ready ? 'is mounted there already' : 'is being mounted there';
      throw new NaiadError('MOUNTPOINT_BUSY', `${other.mountpoint}: ${other.image} ${what}`, {
        hint: `naiad umount ${other.mountpoint}`,
      });
    }
    await cleanDead(state, other);
  }
  throw new NaiadError('MOUNTPOINT_BUSY', `${record.mountpoint}: another mount was faster`);
}

export interface Placement {
  /** What is to be recorded before anything is made. */
  readonly change: Partial<MountRecord>;
  /** Why it is not simply the mountpoint. */
  readonly why?: string;
  /** Of what is written to the mount; the caller's to dispose of. */
  readonly spool?: Spool | undefined;
}

/** Where the driver mounts: on the mountpoint itself, or in a place of ours if something goes on top. */
export async function planPlacement(
  state: string,
  { id, cache, mountpoint }: MountRecord,
  { readWrite, upper }: Pick<MountRequest, 'readWrite' | 'upper'>,
): Promise<Placement> {
  const target = join(mountPaths(state, id).parts, 'lower');
  if (readWrite) {
    const plan = await planWritable({ state, cache, upperOption: upper });
    return { change: { readWrite: plan.readWrite, target }, why: plan.why, spool: plan.spool };
  }
  if (!isOurs(mountAbove(mountpoint))) return { change: {} };
  // Mounting looks the path up; this process may be the one to be asked, and must not wait for itself.
  return { change: { target }, why: 'Bound to its place, which is inside another image.' };
}

/** Makes the directory that the driver mounts on, and those of an overlay over it. */
export function makeTarget(state: string, record: MountRecord, bootstrap: Bootstrap): void {
  const { id, mountpoint, target, readWrite } = record;
  if (readWrite) createParts(mountPaths(state, id).parts, readWrite, bootstrap.inode(bootstrap.rootNid));
  else if (target !== mountpoint) mkdirSync(target, { recursive: true, mode: 0o700 });
}

/** Makes what the driver has mounted appear on the mountpoint, where that is another place. */
export async function mountOnTop(state: string, record: MountRecord): Promise<void> {
  const { id, mountpoint, target, readWrite } = record;
  if (readWrite) await mountOverlay(mountPaths(state, id).parts, record);
  else if (target !== mountpoint) await mountByKernel({ source: target, target: mountpoint, type: '', flags: MS_BIND });
}

/** Resolves when the overlay or the bind mount over the driver's is gone; never when there is none. */
export async function topGone({ mountpoint, target }: MountRecord, signal: AbortSignal): Promise<void> {
  if (target === mountpoint) await new Promise<never>(() => undefined);
  await untilUnmounted(mountpoint, isOurs, signal);
}
