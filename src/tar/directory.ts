// A directory tree of this machine as a layer, in the order and with the care of a deterministic archive.

import type { BigIntStats } from 'node:fs';
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  statSync,
} from 'node:fs';
import { type ByteString, bytesToString, stringToBytes } from '../base/bytes.ts';
import { throwIfAborted } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { TREE_DEPTH_MAX } from '../base/limits.ts';
import { systemError } from '../base/system-error.ts';
import { MiB } from '../base/units.ts';
import type { LayerEntry } from '../image/layer-entry.ts';
import { type Attributes, makeDevice, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../image/tree.ts';
import { getXattr, listXattrs } from '../native/fs.ts';
import type { ReadLayerOptions } from './read-layer.ts';
import { XattrCollector } from './xattrs.ts';

const PIECE_SIZE = 1 * MiB;
const NANOSECONDS = 1_000_000_000n;

/**
 * Everything below and including `root` (other file systems mounted there too), names in byte order, a directory before
 * what is in it. Several names of one inode become hard links to the first. Calls are synchronous: they take microseconds
 * each, and a trip to a thread and back would take thirty.
 * @throws NaiadError PATH_NOT_FOUND, PERMISSION, IO when something changes while it is read, ADDON_MISSING
 */
export async function* readDirectory(root: string, options: ReadLayerOptions = {}): AsyncGenerator<LayerEntry> {
  const reader = new DirectoryReader(options);
  // The slash makes a root that is a symlink the directory it points to.
  const rootPath = Buffer.from(`${root}/.`);
  const status = rootStatus(root);
  yield { kind: 'directory', path: [], attributes: reader.attributes(rootPath, status) };
  // An explicit stack: trees can be deeper than the call stack is.
  const pending = [{ path: [] as readonly ByteString[], onDisk: rootPath }];
  for (let directory = pending.pop(); directory; directory = pending.pop()) {
    const subdirectories: typeof pending = [];
    for (const name of reader.names(directory.onDisk)) {
      throwIfAborted(options.signal);
      const path = [...directory.path, name];
      const onDisk = Buffer.concat([directory.onDisk, SLASH, stringToBytes(name)]);
      const entry = reader.entry(path, onDisk);
      yield entry;
      if (entry.kind === 'directory') subdirectories.push({ path, onDisk });
    }
    if (subdirectories[0] && subdirectories[0].path.length > TREE_DEPTH_MAX) {
      throw new NaiadError('LIMIT_EXCEEDED', `${root}: directories deeper than ${TREE_DEPTH_MAX}`);
    }
    for (const subdirectory of subdirectories.reverse()) pending.push(subdirectory);
  }
}

const SLASH = Buffer.from('/');

/** The root may be given as a symlink; nothing below it is followed. */
function rootStatus(root: string): BigIntStats {
  try {
    const status = statSync(root, { bigint: true });
    if (isType(status, S_IFDIR)) return status;
  } catch (error) {
    throw systemError(error, root);
  }
  throw new NaiadError('PATH_NOT_FOUND', `${root} is no directory`);
}

class DirectoryReader {
  readonly #xattrs: XattrCollector;
  /** First path of each inode that has several names, by device and inode number. */
  readonly #linked = new Map<string, readonly ByteString[]>();
  /** The one piece that bodies are read through. */
  readonly #piece = Buffer.allocUnsafeSlow(PIECE_SIZE);

  constructor(options: ReadLayerOptions) {
    this.#xattrs = new XattrCollector(options.onSkipped ?? (() => undefined));
  }

  status(onDisk: Buffer): BigIntStats {
    return attempt(onDisk, () => lstatSync(onDisk, { bigint: true }));
  }

  names(onDisk: Buffer): ByteString[] {
    return attempt(onDisk, () => readdirSync(onDisk, { encoding: 'buffer' }))
      .map(bytesToString)
      .sort((a, b) => (a < b ? -1 : 1));
  }

  entry(path: readonly ByteString[], onDisk: Buffer): LayerEntry {
    const status = this.status(onDisk);
    if (!isType(status, S_IFDIR) && status.nlink > 1n) {
      const inode = `${status.dev}:${status.ino}`;
      const target = this.#linked.get(inode);
      if (target) return { kind: 'link', path, target };
      this.#linked.set(inode, path);
    }
    const attributes = this.attributes(onDisk, status);
    switch (attributes.mode & S_IFMT) {
      case S_IFDIR:
        return { kind: 'directory', path, attributes };
      case S_IFREG:
        return { kind: 'file', path, attributes, size: Number(status.size), body: this.#body(onDisk, status) };
      case S_IFLNK: {
        const target = attempt(onDisk, () => readlinkSync(onDisk, { encoding: 'buffer' }));
        return { kind: 'symlink', path, attributes, target: bytesToString(target) };
      }
      default:
        return { kind: 'special', path, attributes, rdev: deviceOf(status.rdev) };
    }
  }

  attributes(onDisk: Buffer, status: BigIntStats): Attributes {
    for (const name of attempt(onDisk, () => xattrNames(onDisk))) {
      const value = attempt(onDisk, () => getXattr(onDisk, name));
      this.#xattrs.add(name, bytesToString(value));
    }
    // Division rounds to zero; the nanoseconds count up from the second before.
    const mtimeNsec = ((status.mtimeNs % NANOSECONDS) + NANOSECONDS) % NANOSECONDS;
    return {
      mode: Number(status.mode),
      uid: Number(status.uid),
      gid: Number(status.gid),
      mtimeSec: Number((status.mtimeNs - mtimeNsec) / NANOSECONDS),
      mtimeNsec: Number(mtimeNsec),
      xattrs: this.#xattrs.take(),
    };
  }

  async *#body(onDisk: Buffer, expected: BigIntStats): AsyncGenerator<Uint8Array> {
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const file = attempt(onDisk, () => openSync(onDisk, flags));
    try {
      const unchanged = () => isSame(fstatSync(file, { bigint: true }), expected);
      if (!unchanged()) throw changed(onDisk);
      let left = Number(expected.size);
      while (left > 0) {
        const size = attempt(onDisk, () => readSync(file, this.#piece, 0, Math.min(left, PIECE_SIZE), null));
        if (size === 0) throw changed(onDisk);
        left -= size;
        yield this.#piece.subarray(0, size);
      }
      if (!unchanged()) throw changed(onDisk);
    } finally {
      closeSync(file);
    }
  }
}

function isType(status: BigIntStats, type: number): boolean {
  return (Number(status.mode) & S_IFMT) === type;
}

function isSame(now: BigIntStats, before: BigIntStats): boolean {
  return now.dev === before.dev && now.ino === before.ino && now.size === before.size && now.mtimeNs === before.mtimeNs;
}

/** The number as images store it, from the C library's 64-bit form. */
function deviceOf(rdev: bigint): number {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & 0xff_ff00n);
  return makeDevice(Number(major), Number(minor));
}

function changed(onDisk: Buffer): NaiadError {
  return new NaiadError('IO', `${onDisk.toString()} changed while it was read`, {
    hint: 'convert a tree that nobody writes to, a snapshot for example',
  });
}

/** Runs a call on `onDisk`; what is not there any more was when its directory was read. */
function attempt<T>(onDisk: Buffer, call: () => T): T {
  try {
    return call();
  } catch (error) {
    const failure = systemError(error, onDisk.toString());
    throw failure.code === 'PATH_NOT_FOUND' || isErrno(failure, 'ELOOP') ? changed(onDisk) : failure;
  }
}

/** Names of the attributes; a file system without any has none. */
function xattrNames(onDisk: Buffer): ByteString[] {
  try {
    return listXattrs(onDisk);
  } catch (error) {
    if (isErrno(error, 'ENOTSUP')) return [];
    throw error;
  }
}

function isErrno(error: unknown, code: string): boolean {
  const cause = error instanceof NaiadError ? error.cause : error;
  return (cause as NodeJS.ErrnoException | undefined)?.code === code;
}
