// What is written down of each mount, so that other processes find it: <state>/mounts/<mountId>.json.
import { createHash } from 'node:crypto';
import { linkSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { isAlive, type ProcessIdentity } from '../base/process-identity.ts';
import { systemError } from '../base/system-error.ts';
import { mountPaths, mountsDir } from '../store/paths.ts';
import type { DriverName } from './driver.ts';
import type { MountRequest } from './mount-request.ts';
import { removeTree } from './remove-tree.ts';

/** With what another process goes on with a mount. */
export interface KeptHandover {
  /** The driver's. */
  readonly state: string;
  /** How many the keeper has. */
  readonly descriptors: number;
  /** True when what is kept is none of the driver's. */
  readonly anchored: boolean;
}

export interface MountRecord {
  /** Of this layout; others are not understood. */
  readonly version: 1;
  readonly id: string;
  readonly image: string;
  /** Undefined until the image was opened, and for a bootstrap file. */
  readonly manifestDigest?: string | undefined;
  /** Absolute, without symlinks. */
  readonly mountpoint: string;
  /** Where the driver has mounted: the mountpoint, or below the state directory under an overlay. */
  readonly target: string;
  readonly driver?: DriverName;
  readonly readWrite?: {
    /** Holds what is written. */
    readonly upper: string;
    readonly work: string;
    /** A directory to remove with the mount; none where the user named the place. */
    readonly remove?: string;
  };
  readonly cache: string;
  /** What was asked for, so that it can be mounted anew after a crash. */
  readonly request?: MountRequest;
  /** With what another process goes on with it, where its driver can; the keeper holds the descriptors. */
  readonly handover?: KeptHandover;
  readonly process: ProcessIdentity;
  /** ISO 8601. */
  readonly since: string;
  readonly ready: boolean;
  /** While a daemon takes it over from another one: what that waits for. */
  readonly resuming?: string | undefined;
  /** What was decided and why, in sentences. */
  readonly why: readonly string[];
}

/** The same mountpoint has the same id, so that it cannot be taken twice. */
export function mountIdOf(mountpoint: string): string {
  return createHash('sha256').update(mountpoint).digest('hex').slice(0, 12);
}

/** Takes the place of a new mount. Returns the record that has it already, or undefined when it is ours. */
export function claimRecord(state: string, record: MountRecord): MountRecord | undefined {
  const { record: path } = mountPaths(state, record.id);
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    mkdirSync(mountsDir(state), { recursive: true, mode: 0o700 });
    writeFileSync(temporary, encode(record), { mode: 0o600 });
    try {
      linkSync(temporary, path);
      return undefined;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    } finally {
      rmSync(temporary, { force: true });
    }
  } catch (error) {
    throw systemError(error, path, 'Run as root, or set NAIAD_STATE to a directory you can write.');
  }
  const other = readRecord(state, record.id);
  if (other) return other;
  rmSync(path, { force: true }); // Unreadable, or just removed: nobody can be served by it.
  return claimRecord(state, record);
}

/** Replaces our own record. */
export function updateRecord(state: string, record: MountRecord): void {
  const { record: path } = mountPaths(state, record.id);
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, encode(record), { mode: 0o600 });
  renameSync(temporary, path);
}

/** The record of a mount; undefined when there is none or it is not of this version. */
export function readRecord(state: string, id: string): MountRecord | undefined {
  try {
    const record = JSON.parse(readFileSync(mountPaths(state, id).record, 'utf8')) as MountRecord;
    return record.version === 1 && record.id === id ? record : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw systemError(error, `mount ${id}`);
  }
}

/** All records, by mountpoint. */
export function listRecords(state: string): MountRecord[] {
  let names: string[];
  try {
    names = readdirSync(mountsDir(state));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw systemError(error, mountsDir(state));
  }
  return names
    .map((name) => /^([0-9a-f]{12})\.json$/.exec(name)?.[1])
    .flatMap((id) => (id === undefined ? [] : (readRecord(state, id) ?? [])))
    .sort((a, b) => (a.mountpoint < b.mountpoint ? -1 : 1));
}

/** Removes all that the state directory has of a mount. */
export function removeRecord(state: string, record: MountRecord): void {
  const { record: path, parts } = mountPaths(state, record.id);
  removeTree(parts);
  rmSync(path, { force: true }); // Last: as long as it is there, somebody will clean up.
}

export function isServed(record: MountRecord): boolean {
  return isAlive(record.process);
}

function encode(record: MountRecord): string {
  return `${JSON.stringify(record, undefined, 2)}\n`;
}
