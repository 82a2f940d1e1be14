// This process as another program: what execve(2) does, which Node has no call for.
import { NaiadError } from '../base/errors.ts';
import { systemError } from '../base/system-error.ts';
import { errnoError } from './errno.ts';
import { loadAddon } from './load.ts';

/**
 * Becomes `program`, a path, with these arguments, the same process number and the environment as it is. Returns only where
 * there is no addon. @throws NaiadError when the program cannot be started
 */
export function replaceProcess([program, ...words]: readonly [string, ...string[]]): void {
  try {
    const text = Buffer.from([program, ...words].map((word) => `${word}\0`).join(''));
    throw systemError(errnoError(loadAddon().replaceProcess(text), 'execve', Buffer.from(program)), program);
  } catch (error) {
    if (!(error instanceof NaiadError) || error.code !== 'ADDON_MISSING') throw error;
  }
}
