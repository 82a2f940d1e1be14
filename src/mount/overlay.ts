// A read-write mount: overlayfs over the read-only one, with what is written in a directory of its own.
import { execFile } from 'node:child_process';
import { chmodSync, chownSync, constants, existsSync, mkdirSync, statfsSync, symlinkSync, utimesSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { hasCode, NaiadError } from '../base/errors.ts';
import { systemError } from '../base/system-error.ts';
import type { InodeView } from '../image/bootstrap-reader.ts';
import { mount } from '../native/mount.ts';
import { writableDir } from '../store/paths.ts';
import { createSpool, type Spool } from '../store/spool.ts';
import type { MountRecord } from './mount-record.ts';

const OVERLAYFS_MAGIC = 0x794c7630;

export interface WritablePlan {
  readonly readWrite: NonNullable<MountRecord['readWrite']>;
  readonly why: string;
  /** What was written ends with this; nothing when the user named the place. */
  readonly spool?: Spool;
}

/** Where to keep what is written: below `upperOption`, else beside the cache, or in the state directory where overlayfs
 *  refuses the cache's file system. */
export async function planWritable(options: {
  readonly state: string;
  readonly cache: string;
  readonly upperOption?: string | undefined;
}): Promise<WritablePlan> {
  const { state, cache, upperOption } = options;
  if (process.geteuid?.() !== 0) {
    throw new NaiadError('PERMISSION', 'a read-write mount needs overlayfs, which only root may mount', {
      hint: 'Run as root, or mount without --rw.',
    });
  }
  try {
    if (upperOption !== undefined) {
      const base = resolve(upperOption);
      mkdirSync(base, { recursive: true });
      const readWrite = { upper: join(base, 'upper'), work: join(base, 'work') };
      return { readWrite, why: `Writes go to ${readWrite.upper}, as asked, and stay.` };
    }
    mkdirSync(cache, { recursive: true, mode: 0o700 });
    const nested = statfsSync(cache).type === OVERLAYFS_MAGIC;
    const parent = writableDir(nested ? state : cache);
    mkdirSync(parent, { recursive: true, mode: 0o700 });
    const spool = await createSpool(parent);
    return {
      spool,
      readWrite: { upper: join(spool.path, 'upper'), work: join(spool.path, 'work'), remove: spool.path },
      why: nested
        ? 'Writes go to the state directory, because the cache is on overlayfs itself; they end with the mount.'
        : 'Writes go to a directory beside the cache and end with the mount.',
    };
  } catch (error) {
    throw systemError(error, 'directory for what is written');
  }
}

/**
 * Makes the directories of a read-write mount. An overlay's root looks like its upper directory, so that gets the
 * attributes of the image's root, unless it was there already.
 */
export function createParts(parts: string, readWrite: WritablePlan['readWrite'], root: InodeView): void {
  try {
    for (const directory of [join(parts, 'lower'), readWrite.work]) {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
    }
    if (!existsSync(readWrite.upper)) {
      mkdirSync(readWrite.upper);
      chownSync(readWrite.upper, root.uid, root.gid);
      chmodSync(readWrite.upper, root.mode & 0o7777);
      const mtime = root.mtimeSec + root.mtimeNsec / 1e9;
      utimesSync(readWrite.upper, mtime, mtime);
    }
    // By names that need nothing quoted, wherever they lead.
    symlinkSync(readWrite.upper, join(parts, 'upper'));
    symlinkSync(readWrite.work, join(parts, 'work'));
  } catch (error) {
    throw systemError(error, parts);
  }
}

/**
 * Mounts the overlay at `mountpoint`. On a thread of its own: the kernel reads the lower file system while it mounts, and
 * this process answers those reads.
 * @throws NaiadError MOUNT_FAILED
 */
export async function mountOverlay(parts: string, { mountpoint, readWrite }: MountRecord): Promise<void> {
  // overlayfs has its own rules for commas and colons in paths; this one has neither.
  const directory = await open(parts, constants.O_RDONLY | constants.O_DIRECTORY);
  const optionsBelow = (path: string) => {
    const places = [`lowerdir=${path}lower`, `upperdir=${path}upper`, `workdir=${path}work`];
    // Attributes of an image must not steer overlayfs: redirects and metacopy are neither made nor followed.
    const flags = ['redirect_dir=nofollow', 'metacopy=off', 'index=off', 'xino=off'];
    // What ends with the mount need not be brought to disk when a program asks for that.
    if (readWrite?.remove) flags.push('volatile');
    return [...places, ...flags].join(',');
  };
  try {
    const options = optionsBelow(`/proc/self/fd/${directory.fd}/`);
    await mount({ source: 'naiad', target: mountpoint, type: 'overlay', options });
  } catch (error) {
    if (hasCode(error, 'ADDON_MISSING')) return await mountByProgram(parts, mountpoint, optionsBelow(''));
    throw new NaiadError('MOUNT_FAILED', `overlay at ${mountpoint}: ${(error as Error).message}`, {
      cause: error,
      hint: 'The kernel log has the reason: dmesg | tail. Its upper directory must not be on overlayfs or NFS.',
    });
  } finally {
    await directory.close();
  }
}

/** Where there is no addon: by mount(8), in the directory that the options are relative to. */
async function mountByProgram(directory: string, mountpoint: string, options: string): Promise<void> {
  const args = ['-i', '-t', 'overlay', 'naiad', '-o', options, mountpoint];
  await new Promise<void>((done, reject) => {
    execFile('mount', args, { cwd: directory, env: { ...process.env, LC_ALL: 'C' } }, (error, _stdout, stderr) => {
      if (!error) return done();
      const reason = stderr.trim() || error.message;
      reject(new NaiadError('MOUNT_FAILED', `overlay at ${mountpoint}: ${reason}`, { cause: error }));
    });
  });
}
