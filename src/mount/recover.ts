// After processes that were killed: what they had mounted is unmounted, what they had written down is removed.
import { rmSync } from 'node:fs';
import { isServed, listRecords, type MountRecord, removeRecord } from './mount-record.ts';
import { isOurs, mountAt, readMountTable } from './mount-table.ts';
import { unmount } from './unmount.ts';

/** Unmounts and removes a mount whose process is dead. Its file system answers nobody, so nothing is taken from anyone.
 *  @throws NaiadError MOUNTPOINT_BUSY when processes still use the overlay over it and `lazy` is not set. */
export async function cleanDead(state: string, record: MountRecord, options: { lazy?: boolean } = {}): Promise<void> {
  const { mountpoint, target, readWrite } = record;
  if (readWrite && isOurs(mountAt(mountpoint))) await unmount(mountpoint, options);
  // What is mounted there belongs to somebody else if it answers.
  if (isOurs(mountAt(target))) await unmount(target, { lazy: true });
  forget(state, record);
}

/** Removes records of dead processes of which nothing is mounted any more, as after a reboot. */
export function forgetGone(state: string): void {
  const table = readMountTable();
  for (const record of listRecords(state)) {
    if (isServed(record)) continue;
    const mounted = [record.mountpoint, record.target].some((path) => isOurs(mountAt(path, table)));
    if (!mounted) forget(state, record);
  }
}

function forget(state: string, record: MountRecord): void {
  if (record.readWrite?.remove) rmSync(record.readWrite.remove, { recursive: true, force: true });
  removeRecord(state, record);
}
