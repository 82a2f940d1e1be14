// The tree a bootstrap and its filled devices describe, read by our own reader: what a mount of it must show.
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import type { Bootstrap, InodeView } from '../../src/image/bootstrap-reader.ts';
import {
  deviceMajor,
  deviceMinor,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from '../../src/image/tree.ts';
import { walk } from '../../src/image/walk.ts';
import type { FileType, Tree } from './tree.ts';

const TYPES: readonly (readonly [bits: number, type: FileType])[] = [
  [S_IFSOCK, 'socket'],
  [S_IFLNK, 'symlink'],
  [S_IFREG, 'file'],
  [S_IFBLK, 'block'],
  [S_IFDIR, 'directory'],
  [S_IFCHR, 'char'],
  [S_IFIFO, 'fifo'],
];

function typeOf(mode: number): FileType {
  const found = TYPES.find(([bits]) => bits === (mode & S_IFMT));
  if (!found) throw new Error(`mode 0${mode.toString(8)} has no type`);
  return found[1];
}

export function imageTree(bootstrap: Bootstrap, devicePaths: readonly string[]): Tree {
  const devices = devicePaths.map((path) => openSync(path, 'r'));
  const groups = new Map<number, string>();
  const tree: Tree = new Map();
  try {
    // Byte order, so that the first name of a link group is the one readTree takes.
    const names = [...walk(bootstrap)].map(({ path, inode }) => ({ path: path.join('/'), parts: path, inode }));
    for (const { path, inode } of names.sort((a, b) => compareParts(a.parts, b.parts))) {
      const type = typeOf(inode.mode);
      if (!groups.has(inode.nid)) groups.set(inode.nid, path);
      const isDevice = type === 'char' || type === 'block';
      tree.set(path, {
        type,
        mode: inode.mode & 0o7777,
        uid: inode.uid,
        gid: inode.gid,
        mtimeNs: BigInt(inode.mtimeSec) * 1_000_000_000n + BigInt(inode.mtimeNsec),
        size: type === 'directory' ? undefined : inode.size,
        nlink: inode.nlink,
        device: isDevice ? `${deviceMajor(inode.rdev)}:${deviceMinor(inode.rdev)}` : undefined,
        linkGroup: type === 'directory' ? undefined : groups.get(inode.nid),
        target: type === 'symlink' ? bootstrap.readlink(inode.nid) : undefined,
        content: type === 'file' ? hashFile(bootstrap, inode, devices) : undefined,
        xattrs: Object.fromEntries(
          bootstrap.xattrs(inode.nid).map(({ name, value }) => [name, Buffer.from(value).toString('hex')]),
        ),
      });
    }
  } finally {
    for (const device of devices) closeSync(device);
  }
  return tree;
}

function hashFile(bootstrap: Bootstrap, inode: InodeView, devices: readonly number[]): string {
  const hash = createHash('sha256');
  for (const { blobIndex, deviceOffset, size } of bootstrap.extents(inode.nid, 0, inode.size)) {
    const bytes = Buffer.alloc(size);
    readSync(devices[blobIndex] as number, bytes, 0, size, deviceOffset);
    hash.update(bytes);
  }
  return hash.digest('hex');
}

function compareParts(a: readonly string[], b: readonly string[]): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const [left, right] = [a[i] as string, b[i] as string];
    if (left !== right) return left < right ? -1 : 1;
  }
  return a.length - b.length;
}
