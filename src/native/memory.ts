// How this process asks the system for memory.
import { NaiadError } from '../base/errors.ts';
import { loadAddon } from './load.ts';

/** Gives what is freed back to the system at once, for a process that lives long. False where there is no addon or no glibc. */
export function limitMemory(): boolean {
  try {
    return loadAddon().limitMemory();
  } catch (error) {
    if (error instanceof NaiadError && error.code === 'ADDON_MISSING') return false;
    throw error;
  }
}
