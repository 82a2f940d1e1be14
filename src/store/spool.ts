// Directories for unfinished files, beside where the finished ones go so that a rename publishes them. A process that
// is killed leaves its spool behind; the next one that makes a spool in the same place removes it.
//
//   .naiad-<pid>-<start time>-<machine>-<random>/
//
// A process is known by its pid and its start time (in clock ticks since boot), which the kernel does not give out
// twice. `machine` stands for this boot and pid namespace: spools of another one cannot be judged and are left until
// they are a day old, so that a live writer in a container or on a shared disk keeps its files.
import { randomBytes } from 'node:crypto';
import { lstat, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { machineId, startTimeOf } from '../base/process-identity.ts';
import { systemError } from '../base/system-error.ts';

export interface Spool extends AsyncDisposable {
  /** Empty at first, for this process alone. Disposing removes it with all that is in it. */
  readonly path: string;
}

const NAME = /^\.naiad-(\d{1,10})-(\d{1,20})-([0-9a-f]{8})-[0-9a-f]{12}$/;
const FOREIGN_AGE_MAX_MS = 24 * 3600 * 1000;

/**
 * Makes a spool below `parent`, which must exist, after removing those of dead processes.
 * @throws NaiadError PATH_NOT_FOUND, PERMISSION, NO_SPACE, IO
 */
export async function createSpool(parent: string): Promise<Spool> {
  await removeStaleSpools(parent);
  const path = ownPath(parent);
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    throw systemError(error, `${parent}: making a directory for unfinished files`);
  }
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** Makes the spool of a dead process this one's, under another name. @throws NaiadError PATH_NOT_FOUND, PERMISSION, IO */
export async function adoptSpool(left: string): Promise<Spool> {
  const path = ownPath(dirname(left));
  try {
    await rename(left, path);
  } catch (error) {
    throw systemError(error, `${left}: taking it over`);
  }
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

function ownPath(parent: string): string {
  const self = `${process.pid}-${startTimeOf(process.pid) ?? 0}-${machineId()}`;
  return join(parent, `.naiad-${self}-${randomBytes(6).toString('hex')}`);
}

/** Removes the spools of dead processes in `parent`. What cannot be read or removed stays. */
export async function removeStaleSpools(parent: string): Promise<void> {
  const names = await readdir(parent).catch(() => []);
  for (const name of names) {
    const path = join(parent, name);
    if (NAME.test(name) && (await isStale(path, name)))
      await rm(path, { recursive: true, force: true }).catch(() => {});
  }
}

/** True for the name of a spool, for those who list a directory that may hold one. */
export function isSpoolName(name: string): boolean {
  return NAME.test(name);
}

async function isStale(path: string, name: string): Promise<boolean> {
  const [, pid, startTime, machine] = NAME.exec(name) ?? [];
  const status = await lstat(path).catch(() => undefined);
  // In a directory for everyone, only what is ours.
  if (!status?.isDirectory() || status.uid !== process.getuid?.()) return false;
  if (machine !== machineId()) return Date.now() - status.mtimeMs > FOREIGN_AGE_MAX_MS;
  return startTimeOf(Number(pid)) !== startTime;
}
