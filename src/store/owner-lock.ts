// A file that says which process owns a directory. Who finds it owned by a dead process takes it over; it is removed by
// its owner. Processes of another boot or pid namespace cannot be judged and count as dead: a directory that several
// containers share needs a lock of the system besides.
import { randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { isAlive, type ProcessIdentity, thisProcess } from '../base/process-identity.ts';
import { systemError } from '../base/system-error.ts';

export interface OwnerLock extends Disposable {
  /** False once the file is gone or somebody else's, as when its directory was removed. */
  isHeld(): boolean;
}

/** Takes the lock at `path`, or returns the living process that has it. @throws NaiadError PERMISSION, NO_SPACE, IO */
export function takeOwnerLock(path: string): OwnerLock | { readonly owner: ProcessIdentity } {
  const own = thisProcess();
  const unique = `${path}.${own.pid}-${randomBytes(4).toString('hex')}`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(unique, JSON.stringify(own), { mode: 0o600 });
    while (!tryLink(unique, path)) {
      const owner = readOwner(path);
      if (owner && isAlive(owner)) return { owner };
      retire(path, `${unique}.old`);
    }
  } catch (error) {
    throw systemError(error, `lock ${path}`);
  } finally {
    rmSync(unique, { force: true });
  }
  const isHeld = () => sameProcess(readOwner(path), own);
  return { isHeld, [Symbol.dispose]: () => isHeld() && rmSync(path, { force: true }) };
}

/** Whose lock it is, dead or alive; undefined when there is none. */
export function readOwner(path: string): ProcessIdentity | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as ProcessIdentity;
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Moves a dead owner's file away. Where somebody was faster and it is a living one's by now, it is put back. */
function retire(path: string, aside: string): void {
  try {
    renameSync(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  const owner = readOwner(aside);
  if (owner && isAlive(owner)) tryLink(aside, path);
  rmSync(aside, { force: true });
}

function sameProcess(a: ProcessIdentity | undefined, b: ProcessIdentity): boolean {
  return a?.pid === b.pid && a.startTime === b.startTime && a.machine === b.machine;
}
