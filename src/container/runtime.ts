// runc or crun as a program.
import { execFile } from 'node:child_process';
import { NaiadError } from '../base/errors.ts';
import { findProgram } from '../base/find-program.ts';

export const RUNTIME_NAMES = ['runc', 'crun'] as const;
export type RuntimeName = (typeof RUNTIME_NAMES)[number];

/** The path of `name`, or under `auto` of the first that is installed. @throws NaiadError RUNTIME_MISSING. */
export function findRuntime(name: RuntimeName | 'auto'): string {
  const wanted = name === 'auto' ? RUNTIME_NAMES : [name];
  const found = findProgram(...wanted);
  if (found !== undefined) return found;
  throw new NaiadError('RUNTIME_MISSING', `${wanted.join(' and ')} not found on PATH`, {
    hint: `Debian and Ubuntu: apt-get install ${wanted[0]}.`,
  });
}

/** The runtime itself gives up sooner, unless it hangs. */
const DELETE_TIMEOUT_MS = 60_000;

/** Kills and removes a container, if there is one. */
export function deleteContainer(runtime: string, root: string, id: string): Promise<void> {
  return new Promise((resolve) => {
    const args = ['--root', root, 'delete', '--force', id];
    execFile(runtime, args, { timeout: DELETE_TIMEOUT_MS, killSignal: 'SIGKILL' }, () => resolve());
  });
}
