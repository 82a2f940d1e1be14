// What can be mounted on, said before the kernel says it less clearly.
import { realpathSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { NaiadError } from '../base/errors.ts';
import { systemError } from '../base/system-error.ts';
import { isOurs, mountAt } from './mount-table.ts';

/**
 * The absolute path of `directory` without symlinks, as the mount table names it. Of a mount whose server is dead only
 * the parent can be looked at.
 * @throws NaiadError MOUNTPOINT_INVALID when it does not exist.
 */
export function resolveMountpoint(directory: string): string {
  const path = resolve(directory);
  if (mountAt(path)) return path; // Known by that name, and not asked: its server may hang.
  try {
    return realpathSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOTCONN' && path !== '/') return join(realpathSync(dirname(path)), basename(path));
    if (code === 'ENOENT') {
      throw new NaiadError('MOUNTPOINT_INVALID', `mountpoint ${path} does not exist`, { hint: `mkdir -p ${path}` });
    }
    throw systemError(error, `mountpoint ${path}`);
  }
}

/**
 * Checks that `mountpoint` (resolved) is an empty directory with nothing mounted on it: what a mount hides is forgotten.
 * Waits without blocking: the directory may be in another mount of this very process.
 * @throws NaiadError MOUNTPOINT_INVALID, MOUNTPOINT_BUSY, PERMISSION.
 */
export async function checkMountpoint(mountpoint: string): Promise<void> {
  const there = mountAt(mountpoint);
  if (there) {
    const what = isOurs(there) ? 'an image' : `${there.source} (${there.type})`;
    throw new NaiadError('MOUNTPOINT_BUSY', `${mountpoint}: ${what} is mounted there already`, {
      hint: isOurs(there) ? `naiad umount ${mountpoint}` : `Choose another directory, or umount ${mountpoint}`,
    });
  }
  try {
    if (!(await stat(mountpoint)).isDirectory()) {
      throw new NaiadError('MOUNTPOINT_INVALID', `mountpoint ${mountpoint} is no directory`);
    }
    if ((await readdir(mountpoint)).length > 0) {
      throw new NaiadError('MOUNTPOINT_INVALID', `mountpoint ${mountpoint} is not empty`, {
        hint: 'Mount on an empty directory: what is below a mount cannot be seen.',
      });
    }
  } catch (error) {
    throw systemError(error, `mountpoint ${mountpoint}`);
  }
}
