// Answers of the fuse-native package's callbacks over an ImageFs. The package's limits, and what is made of them here:
//   names, link targets   JavaScript strings: those that are not UTF-8 show escaped (text-names.ts)
//   times                 whole milliseconds, none before 1970: earlier ones show as 1970
//   inode numbers         32 bits; nids of a bootstrap of up to 128 GiB fit
//   ACLs                  are shown as xattrs; the kernel checks permission bits only
import { constants } from 'node:os';
import { stringToBytes, utf8ToByteString } from '../base/bytes.ts';
import { NaiadError } from '../base/errors.ts';
import { NAME_SIZE_MAX } from '../base/limits.ts';
import type { InodeView } from '../image/bootstrap-reader.ts';
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK } from '../image/tree.ts';
import { errnoOf } from './errno.ts';
import type { ImageFs } from './image-fs.ts';
import { PathLookup } from './path-lookup.ts';
import { nameToText } from './text-names.ts';

/** As the package takes it; times in milliseconds since 1970. */
export interface FuseStat {
  mode: number;
  uid: number;
  gid: number;
  size: number;
  nlink: number;
  ino: number;
  rdev: number;
  blksize: number;
  blocks: number;
  atime: number;
  mtime: number;
  ctime: number;
}

export interface FuseStatfs {
  bsize: number;
  frsize: number;
  blocks: number;
  files: number;
  namemax: number;
}

type Reply<T> = (status: number, value?: T) => void;

const { ENOENT, ENAMETOOLONG, ENODATA, ERANGE } = constants.errno;
const BLOCK_SIZE = 4096;
const MODE_OF_TYPE = [0, S_IFREG, S_IFDIR, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK, S_IFLNK];

export class FuseHandlers {
  /** Undefined once released: whoever asks then gets an error. */
  #served: { readonly fs: ImageFs; readonly paths: PathLookup } | undefined;
  readonly #statfs: FuseStatfs;

  constructor(fs: ImageFs) {
    this.#served = { fs, paths: new PathLookup(fs.bootstrap) };
    const size = fs.bootstrap.blobs.reduce((sum, blob) => sum + blob.uncompressedSize, fs.bootstrap.bytes.length);
    this.#statfs = {
      bsize: BLOCK_SIZE,
      frsize: BLOCK_SIZE,
      blocks: Math.min(Math.ceil(size / BLOCK_SIZE), 2 ** 32 - 1),
      files: Math.min(fs.bootstrap.inodeCount, 2 ** 32 - 1),
      namemax: NAME_SIZE_MAX,
    };
  }

  /** Lets go of the image, which whoever keeps the callbacks would keep in memory. */
  release(): void {
    this.#served = undefined;
  }

  get #image(): { readonly fs: ImageFs; readonly paths: PathLookup } {
    if (!this.#served) throw new NaiadError('CANCELED', 'the mount has ended');
    return this.#served;
  }

  get #fs(): ImageFs {
    return this.#image.fs;
  }

  /** The callbacks in the package's form; bound. */
  operations(): Record<string, (...args: never[]) => void> {
    return {
      getattr: (path: string, reply: Reply<FuseStat>) => this.#answer(path, reply, (nid) => this.stat(nid)),
      readdir: (path: string, reply: (status: number, names?: string[], stats?: FuseStat[]) => void) =>
        this.#readdir(path, reply),
      readlink: (path: string, reply: Reply<string>) =>
        this.#answer(path, reply, (nid) => nameToText(this.#fs.bootstrap.readlink(nid))),
      // The handle is the inode, so that a read needs no path.
      open: (path: string, _flags: number, reply: Reply<number>) => this.#answer(path, reply, (nid) => nid),
      read: (_path: string, nid: number, buffer: Buffer, size: number, offset: number, reply: Reply<never>) =>
        this.#read(nid, buffer.subarray(0, size), offset, reply),
      // Only their presence counts: the driver answers these with getxattr and listxattr below.
      getxattr: () => undefined,
      listxattr: () => undefined,
      statfs: (_path: string, reply: Reply<FuseStatfs>) => reply(0, this.#statfs),
    };
  }

  /**
   * Writes an xattr's value into `buffer` and returns its size; an empty buffer asks for the size alone. Negative errno:
   * ENODATA when there is none, ERANGE when the buffer is too small.
   */
  getxattr(path: string, name: string, buffer: Buffer): number {
    return this.#status(path, (nid) => {
      const wanted = utf8ToByteString(name);
      const xattr = this.#fs.bootstrap.xattrs(nid).find((candidate) => candidate.name === wanted);
      return xattr ? fill(buffer, xattr.value) : -ENODATA;
    });
  }

  /** As getxattr, with the names of all xattrs, each ended by a NUL. */
  listxattr(path: string, buffer: Buffer): number {
    return this.#status(path, (nid) => {
      const names = this.#fs.bootstrap.xattrs(nid).map(({ name }) => `${name}\0`);
      return fill(buffer, stringToBytes(names.join('')));
    });
  }

  stat(nid: number): FuseStat {
    const inode: InodeView = this.#fs.bootstrap.inode(nid);
    const mtime = Math.max(0, inode.mtimeSec * 1000 + Math.floor(inode.mtimeNsec / 1_000_000));
    return {
      mode: inode.mode,
      uid: inode.uid,
      gid: inode.gid,
      size: inode.size,
      nlink: inode.nlink,
      ino: nid,
      rdev: inode.rdev,
      blksize: BLOCK_SIZE,
      blocks: Math.ceil(inode.size / BLOCK_SIZE) * (BLOCK_SIZE / 512),
      atime: mtime,
      mtime,
      ctime: mtime,
    };
  }

  /** Only type and inode number of the stats are used by the kernel. */
  #readdir(path: string, reply: (status: number, names?: string[], stats?: FuseStat[]) => void): void {
    const replyEntries: Reply<{ names: string[]; stats: FuseStat[] }> = (status, value) =>
      reply(status, value?.names, value?.stats);
    this.#answer(path, replyEntries, (directory) => {
      const entries = this.#fs.bootstrap.readdir(directory);
      return {
        names: entries.map(({ name }) => nameToText(name)),
        stats: entries.map(({ nid, type }) => ({ ...NO_STAT, mode: MODE_OF_TYPE[type] ?? 0, ino: nid })),
      };
    });
  }

  #read(nid: number, buffer: Uint8Array, offset: number, reply: Reply<never>): void {
    try {
      const count = this.#fs.read(nid, offset, buffer);
      if (typeof count === 'number') reply(count);
      else {
        count.then(
          (size) => reply(size),
          (error) => reply(-errnoOf(error)),
        );
      }
    } catch (error) {
      reply(-errnoOf(error));
    }
  }

  #answer<T>(path: string, reply: Reply<T>, answer: (nid: number) => T): void {
    let value: T | undefined;
    const status = this.#status(path, (nid) => {
      value = answer(nid);
      return 0;
    });
    if (status === 0) reply(0, value);
    else reply(status);
  }

  #status(path: string, answer: (nid: number) => number): number {
    try {
      const nid = this.#image.paths.find(path);
      if (nid !== undefined) return answer(nid);
      const name = path.slice(path.lastIndexOf('/') + 1);
      return Buffer.byteLength(name) > NAME_SIZE_MAX ? -ENAMETOOLONG : -ENOENT;
    } catch (error) {
      return -errnoOf(error);
    }
  }
}

const NO_STAT: FuseStat = {
  mode: 0,
  uid: 0,
  gid: 0,
  size: 0,
  nlink: 1,
  ino: 0,
  rdev: 0,
  blksize: 0,
  blocks: 0,
  atime: 0,
  mtime: 0,
  ctime: 0,
};

function fill(buffer: Buffer, value: Uint8Array): number {
  if (buffer.length === 0) return value.length;
  if (value.length > buffer.length) return -ERANGE;
  buffer.set(value);
  return value.length;
}
