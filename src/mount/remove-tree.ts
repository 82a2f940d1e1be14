// rm -r that never reaches into something mounted below.
import { rmSync } from 'node:fs';
import { NaiadError } from '../base/errors.ts';
import { systemError } from '../base/system-error.ts';
import { readMountTable } from './mount-table.ts';

/** Removes `path` with all below it; nothing there is fine. @throws NaiadError MOUNTPOINT_BUSY, IO. */
export function removeTree(path: string): void {
  const inside = readMountTable().find(({ mountpoint }) => mountpoint === path || mountpoint.startsWith(`${path}/`));
  if (inside) {
    throw new NaiadError('MOUNTPOINT_BUSY', `${path} is not removed: ${inside.mountpoint} is still mounted`, {
      hint: `umount ${inside.mountpoint}`,
    });
  }
  try {
    rmSync(path, { recursive: true, force: true });
  } catch (error) {
    throw systemError(error, path);
  }
}
