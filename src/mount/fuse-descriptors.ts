// Descriptors of the FUSE device in this process. libfuse 2 does not mark them close-on-exec: a child that kept one would
// keep the mount's connection open when this process dies, and its readers would wait for ever instead of getting an error.
import { accessSync, closeSync, constants, existsSync, openSync, readdirSync, readlinkSync } from 'node:fs';
import { NaiadError } from '../base/errors.ts';

export const FUSE_DEVICE = '/dev/fuse';

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

export function fuseDescriptors(): number[] {
  return readdirSync('/proc/self/fd')
    .filter((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`) === FUSE_DEVICE;
      } catch {
        return false; // The one readdir used.
      }
    })
    .map(Number);
}

/** `stdio` for a child that gets standard input, output and error of this process and nothing of FUSE. Disposed of once
 *  the child was started. */
export function stdioWithoutFuse(): Disposable & { readonly stdio: ('inherit' | 'ignore' | number)[] } {
  const leaking = fuseDescriptors();
  const nothing = openSync('/dev/null', 'r+');
  const count = Math.max(3, ...leaking.map((fd) => fd + 1));
  const stdio = Array.from({ length: count }, (_, fd) => {
    if (fd < 3) return 'inherit' as const;
    return leaking.includes(fd) ? nothing : ('ignore' as const);
  });
  return { stdio, [Symbol.dispose]: () => closeSync(nothing) };
}
