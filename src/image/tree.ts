// The words in which trees are described, while they are built from layers as well as when they are read from images.
import type { ByteString } from '../base/bytes.ts';

/** File type bits of `mode`, as stat(2) has them. */
export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;

export interface Xattr {
  /** Full name with its prefix, `user.mime`. */
  readonly name: ByteString;
  readonly value: Uint8Array;
}

/** What every inode has. Times are seconds since 1970 (may be negative) plus 0…999,999,999 ns. */
export interface Attributes {
  /** Type and permission bits, set-uid, set-gid and sticky included. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
  /** Without duplicates, in any order. */
  readonly xattrs: readonly Xattr[];
}

/** A chunk of an image: blob index × 2^24 + chunk index within the blob. Fits 32 bits: layers are counted in eight. */
export type ChunkRef = number & { readonly __chunkRef?: true };

const CHUNK_INDEX_SPAN = 2 ** 24;

export function chunkRef(blobIndex: number, chunkIndex: number): ChunkRef {
  return blobIndex * CHUNK_INDEX_SPAN + chunkIndex;
}

export function blobIndexOf(ref: ChunkRef): number {
  return Math.floor(ref / CHUNK_INDEX_SPAN);
}

export function chunkIndexOf(ref: ChunkRef): number {
  return ref % CHUNK_INDEX_SPAN;
}

/** Linux' new_encode_dev: 12 bits of major, 20 of minor, in 32 bits. */
export function makeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12)) >>> 0;
}

export function deviceMajor(rdev: number): number {
  return (rdev >>> 8) & 0xfff;
}

export function deviceMinor(rdev: number): number {
  return (rdev & 0xff) | ((rdev >>> 12) & 0xfff00);
}

/** Attributes of a directory that no archive entry described. */
export const IMPLIED_DIRECTORY: Attributes = Object.freeze({
  mode: S_IFDIR | 0o755,
  uid: 0,
  gid: 0,
  mtimeSec: 0,
  mtimeNsec: 0,
  xattrs: [],
});
