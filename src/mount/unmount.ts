// Unmounting, and who prevents it. By the addon, which calls the kernel on a thread of its own, since it may ask this very
// process for answers; without the addon by umount(8).
import { execFile } from 'node:child_process';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { hasCode, NaiadError } from '../base/errors.ts';
import { MNT_DETACH, UMOUNT_NOFOLLOW, umount } from '../native/mount.ts';
import { type MountEntry, mountAt } from './mount-table.ts';

/**
 * Unmounts what is seen at `path`; nothing there is fine. `lazy` takes it out of the tree at once, and the kernel lets go
 * when its last user does.
 * @throws NaiadError MOUNTPOINT_BUSY naming a process that uses it; PERMISSION; COMMAND_FAILED.
 */
export async function unmount(path: string, options: { readonly lazy?: boolean } = {}): Promise<void> {
  const entry = mountAt(path);
  if (!entry) return;
  const lazy = options.lazy === true;
  if (process.geteuid?.() !== 0)
    return await unmountByProgram(entry, 'fusermount', ['-u', ...(lazy ? ['-z'] : []), '--']);
  try {
    await umount(path, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0));
  } catch (error) {
    if (hasCode(error, 'MOUNTPOINT_BUSY')) throw await busy(path, entry);
    if (hasCode(error, 'ADDON_MISSING')) await unmountByProgram(entry, 'umount', ['-c', ...(lazy ? ['-l'] : [])]);
    else if (!hasCode(error, 'NOT_MOUNTED')) throw error;
  }
}

async function unmountByProgram(entry: MountEntry, program: string, args: readonly string[]): Promise<void> {
  const path = entry.mountpoint;
  const { failed, stderr } = await run(program, [...args, path]);
  if (!failed || (!mountAt(path) && !/busy/i.test(stderr))) return;
  if (/busy/i.test(stderr)) throw await busy(path, entry);
  if (/permission|must be superuser|not permitted/i.test(stderr)) {
    throw new NaiadError('PERMISSION', `${path}: ${stderr}`, { hint: 'Unmount as the user who mounted, or as root.' });
  }
  throw new NaiadError('COMMAND_FAILED', `${program} ${path}: ${stderr}`);
}

export interface MountUser {
  readonly pid: number;
  readonly command: string;
}

/** Processes with their root, working directory, program or an open file on the mount, as far as /proc may be read. Only
 *  links are read: looking at what they lead to could wait for some other mount that hangs. */
export async function usersOf(entry: MountEntry): Promise<MountUser[]> {
  const users: MountUser[] = [];
  const pids = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name));
  for (const pid of pids) {
    if (!(await uses(`/proc/${pid}`, entry))) continue;
    const command = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '?');
    users.push({ pid: Number(pid), command: command.trim() });
  }
  return users;
}

async function uses(directory: string, entry: MountEntry): Promise<boolean> {
  const inside = (path: string) => path === entry.mountpoint || path.startsWith(`${entry.mountpoint}/`);
  for (const name of ['cwd', 'root', 'exe']) {
    if (inside(await readlink(`${directory}/${name}`).catch(() => ''))) return true;
  }
  for (const fd of await readdir(`${directory}/fd`).catch(() => [])) {
    if (inside(await readlink(`${directory}/fd/${fd}`).catch(() => ''))) return true;
  }
  return false;
}

async function busy(path: string, entry: MountEntry): Promise<NaiadError> {
  const [user, ...others] = await usersOf(entry);
  const more = others.length > 0 ? ` and ${others.length} more` : '';
  const who = user ? `process ${user.pid} (${user.command})${more} uses it` : 'something is mounted below, or uses it';
  return new NaiadError('MOUNTPOINT_BUSY', `${path} is busy: ${who}`, {
    hint: 'End that process, or take the mount out of the tree with "naiad umount --lazy".',
  });
}

function run(program: string, args: readonly string[]): Promise<{ failed: boolean; stderr: string }> {
  return new Promise((resolve) => {
    execFile(program, args, { env: { ...process.env, LC_ALL: 'C' } }, (error, _stdout, stderr) => {
      resolve({ failed: error !== null, stderr: stderr.trim() || (error?.message ?? '') });
    });
  });
}
