// The state directory by the name the kernel knows it by: the mount table has no symlinks in it.
import { mkdirSync, realpathSync } from 'node:fs';
import { systemError } from '../base/system-error.ts';
import { stateDir } from '../store/paths.ts';

/** The state directory, made if need be. @throws NaiadError PERMISSION, … */
export function stateRoot(): string {
  const path = stateDir();
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    return realpathSync(path);
  } catch (error) {
    throw systemError(
      error,
      `state directory ${path}`,
      'Run as root, or set NAIAD_STATE to a directory you can write.',
    );
  }
}
