// Advisory locks on open files (flock): of the open file, not of the process, so that whoever was handed the descriptor
// holds the lock as well, and the kernel lets go of it with the last one.
import { constants } from 'node:os';
import { NaiadError } from '../base/errors.ts';
import { type Addon, loadAddon } from './load.ts';

const OPERATIONS = { shared: 1, exclusive: 2, none: 8 } as const;

/** `unsupported`: no addon, or a file system without locks. */
export type LockOutcome = 'locked' | 'busy' | 'unsupported';

/** Takes, changes or (`none`) gives up the lock of an open file; never waits. A change is not atomic: when it ends `busy`,
 *  the lock that was held may be gone. */
export function tryLock(fd: number, mode: keyof typeof OPERATIONS): LockOutcome {
  let addon: Addon;
  try {
    addon = loadAddon();
  } catch (error) {
    if (error instanceof NaiadError && error.code === 'ADDON_MISSING') return 'unsupported';
    throw error;
  }
  const errno = addon.tryLock(fd, OPERATIONS[mode]);
  if (errno === 0) return 'locked';
  return errno === constants.errno.EWOULDBLOCK ? 'busy' : 'unsupported';
}
