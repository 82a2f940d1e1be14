// Descriptors of the FUSE device in this process. libfuse 2 does not mark its own close-on-exec: a child that kept one would
// keep the mount's connection open when this process dies, and its readers would wait for ever instead of getting an error.
// So a process that serves mounts starts no program that lives long.
import { accessSync, constants, existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { NaiadError } from '../base/errors.ts';

export const FUSE_DEVICE = '/dev/fuse';
/** As fdinfo shows it; Node has no name for it. */
const O_CLOEXEC = 0o2000000;

/** @throws NaiadError DRIVER_UNAVAILABLE in the name of `driver`, when this process cannot open the device. */
export function checkFuseDevice(driver: string): void {
  if (!existsSync(FUSE_DEVICE)) {
    throw new NaiadError('DRIVER_UNAVAILABLE', `${driver}: ${FUSE_DEVICE} is missing`, {
      hint: 'Load the module (modprobe fuse), or give the container /dev/fuse.',
    });
  }
  try {
    accessSync(FUSE_DEVICE, constants.R_OK | constants.W_OK);
  } catch (cause) {
    throw new NaiadError('DRIVER_UNAVAILABLE', `${driver}: ${FUSE_DEVICE} cannot be opened by this user`, {
      hint: 'Run as root.',
      cause,
    });
  }
}

/** Those that libfuse 2 opened: ours are close-on-exec. */
export function fuseDescriptors(): number[] {
  return readdirSync('/proc/self/fd').map(Number).filter(isLibfuse);
}

function isLibfuse(fd: number): boolean {
  try {
    if (readlinkSync(`/proc/self/fd/${fd}`) !== FUSE_DEVICE) return false;
    const flags = /^flags:\s*([0-7]+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1] ?? '0';
    return (Number.parseInt(flags, 8) & O_CLOEXEC) === 0;
  } catch {
    return false; // Closed; or the one readdir used.
  }
}

/** How often to look whether somebody unmounted: the package does not tell. */
const WATCH_INTERVAL_MS = 250;

const watched = new Map<number, () => void>();

/**
 * Resolves once `fd`, just opened by libfuse, is closed: libfuse does that when the kernel has let go of the mount; a lazily
 * unmounted one is gone from the list of mounts long before.
 */
export async function closedFuse(fd: number): Promise<void> {
  watched.get(fd)?.(); // The number is in use again, so what had it before is closed.
  const first = watched.size === 0;
  const closed = new Promise<void>((resolve) => watched.set(fd, resolve));
  if (first) void watch();
  await closed;
}

async function watch(): Promise<void> {
  while (watched.size > 0) {
    await sleep(WATCH_INTERVAL_MS, undefined, { ref: false });
    for (const [fd, resolve] of watched) {
      if (isLibfuse(fd)) continue;
      watched.delete(fd);
      resolve();
    }
  }
}
