// Making a FUSE mount: as root with mount(2), as an ordinary user through fusermount3, which is set-user-id root and passes
// the descriptor back over a socket.
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { NaiadError } from '../base/errors.ts';
import { findProgram } from '../base/find-program.ts';
import { systemError } from '../base/system-error.ts';
import { KiB, MiB } from '../base/units.ts';
import { closeDescriptors, receiveDescriptors, socketPair } from '../native/descriptors.ts';
import { MS_RDONLY, mount } from '../native/mount.ts';
import { FUSE_DEVICE } from './fuse-descriptors.ts';
import { mountAt } from './mount-table.ts';

const SOURCE = 'naiad';
/** libfuse 3's, or libfuse 2's of the same protocol. */
export const FUSE_HELPERS = ['fusermount3', 'fusermount'];
const HELPER_TIMEOUT_MS = 10_000;
/** The kernel reads ahead so much of a file that is read from front to back; a request carries it at once. */
const READ_AHEAD = 1 * MiB;

/** True when this user mounts without help. */
function isRoot(): boolean {
  return process.geteuid?.() === 0;
}

/** @throws NaiadError DRIVER_UNAVAILABLE when an ordinary user has nothing to mount with. */
export function checkFuseMount(driver: string): void {
  if (isRoot() || findProgram(...FUSE_HELPERS)) return;
  throw new NaiadError('DRIVER_UNAVAILABLE', `${driver}: this user needs fusermount3 to mount`, {
    hint: 'Debian and Ubuntu: apt-get install fuse3. Or run as root.',
  });
}

/** Mounts read-only on `target` and returns the connection's descriptor, on which the kernel asks from now on. */
export async function mountFuse(target: string): Promise<number> {
  return isRoot() ? await mountAsRoot(target) : await mountByHelper(target);
}

async function mountAsRoot(target: string): Promise<number> {
  let fd: number;
  try {
    fd = openSync(FUSE_DEVICE, 'r+');
  } catch (error) {
    throw systemError(error, FUSE_DEVICE);
  }
  try {
    const access = 'rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other';
    await mount({ source: SOURCE, target, type: 'fuse.naiad', flags: MS_RDONLY, options: `fd=${fd},${access}` });
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

async function mountByHelper(target: string): Promise<number> {
  const helper = findProgram(...FUSE_HELPERS);
  if (!helper) throw new NaiadError('DRIVER_UNAVAILABLE', 'fusermount3 is not on PATH');
  const [near, far] = socketPair();
  try {
    const options = `ro,fsname=${SOURCE},subtype=naiad,default_permissions`;
    const child = spawn(helper, ['-o', options, '--', target], {
      stdio: ['ignore', 'ignore', 'pipe', far],
      env: { ...process.env, LC_ALL: 'C', _FUSE_COMMFD: '3' },
    });
    let said = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    const ended = new Promise<void>((resolve, reject) => {
      child.once('error', (error) => reject(systemError(error, helper)));
      child.once('close', () => resolve());
    });
    await ended;
    closeSync(far);
    const message = await receiveDescriptors(near, { sizeMax: 1, timeoutMs: HELPER_TIMEOUT_MS });
    const [fd, ...others] = message.descriptors;
    closeDescriptors(others);
    if (fd !== undefined) return fd;
    throw new NaiadError('MOUNT_FAILED', `${helper} did not mount ${target}: ${said.trim()}`, {
      hint: 'An ordinary user may mount on a directory of its own only.',
    });
  } finally {
    closeSync(near);
  }
}

/** Lets the kernel read ahead as much as one request carries. Only root may; others keep its 128 KiB. */
export async function raiseReadAhead(target: string): Promise<void> {
  const entry = mountAt(target);
  if (!entry || !isRoot()) return;
  const path = `/sys/class/bdi/${entry.device}/read_ahead_kb`;
  // Where /sys is read-only, as in a container, it stays as it is.
  await writeFile(path, String(READ_AHEAD / KiB)).catch(() => undefined);
}
