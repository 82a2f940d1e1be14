// A bootstrap read in place: every question is answered from its bytes, without building a tree. All bytes are hostile:
// each offset, count and size is checked against the file before it is used.
import { type ByteString, bytesToString, compareBytes } from '../base/bytes.ts';
import { NaiadError } from '../base/errors.ts';
import { FILE_SIZE_MAX, NAME_SIZE_MAX, SYMLINK_SIZE_MAX } from '../base/limits.ts';
import { alignUp } from '../base/units.ts';
import {
  BLOCK_SIZE,
  CHUNK_ADDRESS_HOLE,
  CHUNK_FORMAT_BITS_MASK,
  CHUNK_FORMAT_INDEXES,
  chunkAddress,
  compactInode,
  dirent,
  extendedInode,
  fileTypeOf,
  LAYOUT_CHUNKED,
  LAYOUT_INLINE,
  LAYOUT_PLAIN,
  SLOT_SIZE,
  XATTR_PREFIXES,
  xattrEntry,
  xattrHeader,
} from '../format/erofs/records.ts';
import { viewOf } from '../format/record.ts';
import {
  type BlobView,
  type BootstrapTables,
  type Complain,
  complainByThrowing,
  readPrefetchNids,
  readTables,
} from './bootstrap-tables.ts';
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, type Xattr } from './tree.ts';

/** What stat(2) shows of an inode. */
export interface InodeView {
  readonly nid: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
  readonly nlink: number;
  /** new_encode_dev of a device node, else 0. */
  readonly rdev: number;
}

export interface DirentView {
  readonly name: ByteString;
  readonly nid: number;
  /** EROFS file type, 1 to 7. */
  readonly type: number;
}

/** Where one chunk of a file is. */
export interface ChunkAddress {
  readonly blobIndex: number;
  readonly chunkIndex: number;
  /** Byte offset on the blob's device. */
  readonly deviceOffset: number;
}

/** A run of a file's bytes on one device. */
export interface Extent {
  readonly blobIndex: number;
  readonly deviceOffset: number;
  readonly size: number;
}

/** Where an inode and its data in the bootstrap lie, for whoever writes them anew. Bytes from the start of the file. */
export interface InodePlace {
  readonly mode: number;
  readonly size: number;
  readonly at: number;
  readonly extended: boolean;
  readonly u: number;
  /** Chunk addresses of a regular file start at the next multiple of 8. */
  readonly bodyAt: number;
  /** Full blocks of a directory's or link's data that lie apart; `start` and `end` are one where there are none. */
  readonly blocks: { readonly start: number; readonly end: number };
}

/** An inode with where its parts lie. */
interface Located extends InodeView {
  readonly layout: number;
  readonly u: number;
  readonly xattrAt: number;
  readonly xattrSize: number;
  /** First byte behind inode and xattrs. */
  readonly bodyAt: number;
}

export class Bootstrap {
  readonly bytes: Uint8Array;
  readonly tables: BootstrapTables;
  readonly chunkSize: number;
  readonly blobs: readonly BlobView[];
  readonly rootNid: number;
  readonly #view: DataView;

  private constructor(bytes: Uint8Array, tables: BootstrapTables) {
    this.bytes = bytes;
    this.tables = tables;
    this.#view = viewOf(bytes);
    this.chunkSize = tables.extSuperblock.chunkSize;
    this.blobs = tables.blobs;
    this.rootNid = tables.superblock.rootNid;
  }

  /**
   * Reads the head of a bootstrap; `bytes` is kept and must not change.
   * `complain` gets what is wrong but can be read past; by default that is thrown as well.
   * @throws NaiadError BOOTSTRAP_INVALID, or BOOTSTRAP_UNSUPPORTED naming the feature.
   */
  static parse(bytes: Uint8Array, complain: Complain = complainByThrowing): Bootstrap {
    const bootstrap = new Bootstrap(bytes, readTables(viewOf(bytes), complain));
    const root = bootstrap.inode(bootstrap.rootNid);
    if ((root.mode & S_IFMT) !== S_IFDIR) throw bootstrap.#invalid(bootstrap.rootNid, 'the root is no directory');
    return bootstrap;
  }

  /** Names in the image as the super block claims; not to be trusted for allocation. */
  get inodeCount(): number {
    return this.tables.superblock.inos;
  }

  /** Inodes to warm first, most urgent first; as stored, unchecked. */
  prefetchNids(): number[] {
    return readPrefetchNids(this.#view, this.tables.extSuperblock);
  }

  inode(nid: number): InodeView {
    const { layout: _l, u: _u, xattrAt: _x, xattrSize: _s, bodyAt: _b, ...inode } = this.#locate(nid);
    return inode;
  }

  place(nid: number): InodePlace {
    const { mode, size, layout, u, bodyAt } = this.#locate(nid);
    const type = mode & S_IFMT;
    const tail = layout === LAYOUT_INLINE ? size % BLOCK_SIZE : 0;
    const apart = type === S_IFDIR || type === S_IFLNK ? size - tail : 0;
    const at = this.tables.metaOffset + nid * SLOT_SIZE;
    const start = apart > 0 ? u * BLOCK_SIZE : 0;
    const extended = (this.#view.getUint16(at, true) & 1) === 1;
    return { mode, size, at, extended, u, bodyAt, blocks: { start, end: start + apart } };
  }

  /** The inode called `name` in a directory; undefined when there is none. */
  lookup(directoryNid: number, name: ByteString): number | undefined {
    const directory = this.#directory(directoryNid);
    const blocks = this.#blockCount(directory);
    let low = 0;
    let high = blocks - 1;
    // The last block whose first name is not above the one wanted.
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      const first = this.#block(directory, middle);
      if (compareBytes(this.#nameIn(directory, first, 0), name) <= 0) low = middle;
      else high = middle - 1;
    }
    if (blocks === 0) return undefined;
    const block = this.#block(directory, low);
    let from = 0;
    let to = block.count - 1;
    while (from <= to) {
      const middle = (from + to) >>> 1;
      const order = compareBytes(this.#nameIn(directory, block, middle), name);
      if (order === 0) return dirent.fields.nid.read(this.#view, block.at + middle * dirent.size);
      if (order < 0) from = middle + 1;
      else to = middle - 1;
    }
    return undefined;
  }

  /** The inode at a path from the root; no symlink is followed. */
  resolve(path: readonly ByteString[]): number | undefined {
    let nid: number | undefined = this.rootNid;
    for (const name of path) {
      if (nid === undefined || (this.inode(nid).mode & S_IFMT) !== S_IFDIR) return undefined;
      nid = this.lookup(nid, name);
    }
    return nid;
  }

  /** All entries of a directory in stored order, `.` and `..` included. */
  readdir(nid: number): DirentView[] {
    const directory = this.#directory(nid);
    const entries: DirentView[] = [];
    const blocks = this.#blockCount(directory);
    for (let index = 0; index < blocks; index++) {
      const block = this.#block(directory, index);
      for (let entry = 0; entry < block.count; entry++) {
        const at = block.at + entry * dirent.size;
        entries.push({
          name: this.#nameIn(directory, block, entry),
          nid: dirent.fields.nid.read(this.#view, at),
          type: dirent.fields.type.read(this.#view, at),
        });
      }
    }
    return entries;
  }

  /** The target of a symlink. */
  readlink(nid: number): ByteString {
    const link = this.#locate(nid);
    if ((link.mode & S_IFMT) !== S_IFLNK) throw this.#invalid(nid, 'no symlink');
    const { at, length } = this.#dataBlock(link, 0);
    const target = bytesToString(this.bytes.subarray(at, at + length));
    if (target.includes('\0')) throw this.#invalid(nid, 'a symlink with a NUL in its target');
    return target;
  }

  xattrs(nid: number): Xattr[] {
    const { xattrAt, xattrSize } = this.#locate(nid);
    if (xattrSize === 0) return [];
    const header = xattrHeader.read(this.#view, xattrAt);
    if (header.sharedCount !== 0) {
      throw new NaiadError('BOOTSTRAP_UNSUPPORTED', `bootstrap: inode ${nid} uses shared xattrs`);
    }
    const xattrs: Xattr[] = [];
    const end = xattrAt + xattrSize;
    for (let at = xattrAt + xattrHeader.size; at < end; ) {
      if (at + xattrEntry.size > end) throw this.#invalid(nid, 'an xattr entry runs over its area');
      const entry = xattrEntry.read(this.#view, at);
      const nameAt = at + xattrEntry.size;
      const valueAt = nameAt + entry.nameSize;
      if (valueAt + entry.valueSize > end) throw this.#invalid(nid, 'an xattr entry runs over its area');
      const prefix = XATTR_PREFIXES.find(({ index }) => index === entry.prefix);
      if (!prefix) throw this.#invalid(nid, `xattr with unknown prefix ${entry.prefix}`);
      const name = prefix.prefix + bytesToString(this.bytes.subarray(nameAt, valueAt));
      xattrs.push({ name, value: this.bytes.subarray(valueAt, valueAt + entry.valueSize) });
      at = alignUp(valueAt + entry.valueSize, 4);
    }
    return xattrs;
  }

  /** One address per `chunkSize` bytes of a regular file. */
  chunkAddresses(nid: number): ChunkAddress[] {
    const file = this.#file(nid);
    const count = Math.ceil(file.size / this.chunkSize);
    return Array.from({ length: count }, (_, index) => this.#address(file, index));
  }

  /** Where bytes `offset` to `offset + size` of a file are, in order, cut at the end of the file. */
  extents(nid: number, offset: number, size: number): Extent[] {
    const file = this.#file(nid);
    const end = Math.min(offset + size, file.size);
    const extents: { blobIndex: number; deviceOffset: number; size: number }[] = [];
    for (let at = offset; at < end; ) {
      const index = Math.floor(at / this.chunkSize);
      const { blobIndex, deviceOffset } = this.#address(file, index);
      const within = at - index * this.chunkSize;
      const length = Math.min(end - at, this.chunkSize - within);
      const last = extents.at(-1);
      if (last?.blobIndex === blobIndex && last.deviceOffset + last.size === deviceOffset + within) last.size += length;
      else extents.push({ blobIndex, deviceOffset: deviceOffset + within, size: length });
      at += length;
    }
    return extents;
  }

  #address(file: Located, index: number): ChunkAddress {
    const at = alignUp(file.bodyAt, 8) + index * chunkAddress.size;
    const { chunkLow, device, block } = chunkAddress.read(this.#view, at);
    const blobIndex = (device & 0xff) - 1;
    const blob = this.blobs[blobIndex];
    const chunkIndex = ((device >>> 8) << 16) | chunkLow;
    const length = Math.min(this.chunkSize, file.size - index * this.chunkSize);
    const where = `chunk ${index} of the file`;
    if (block === CHUNK_ADDRESS_HOLE) throw this.#invalid(file.nid, `${where} is a hole, which RAFS v6 does not have`);
    if (!blob) throw this.#invalid(file.nid, `${where} is on device ${device & 0xff} of ${this.blobs.length}`);
    if (chunkIndex >= blob.chunkCount) {
      throw this.#invalid(file.nid, `${where} is chunk ${chunkIndex} of a blob of ${blob.chunkCount}`);
    }
    if (block * BLOCK_SIZE + length > blob.uncompressedSize) {
      throw this.#invalid(file.nid, `${where} ends beyond the ${blob.uncompressedSize} bytes of its device`);
    }
    return { blobIndex, chunkIndex, deviceOffset: block * BLOCK_SIZE };
  }

  #locate(nid: number): Located {
    const at = this.tables.metaOffset + nid * SLOT_SIZE;
    const fileSize = this.bytes.length;
    if (!Number.isSafeInteger(nid) || nid < 1 || at + compactInode.size > fileSize)
      throw this.#invalid(nid, 'outside the file');
    const format = this.#view.getUint16(at, true);
    const extended = (format & 1) === 1;
    const layout = (format >>> 1) & 7;
    const headSize = extended ? extendedInode.size : compactInode.size;
    if (format >>> 4 !== 0 || at + headSize > fileSize)
      throw this.#invalid(nid, `inode format 0x${format.toString(16)}`);
    const { superblock } = this.tables;
    const raw = extended
      ? extendedInode.read(this.#view, at)
      : { mtime: superblock.buildTime, mtimeNsec: superblock.buildTimeNsec, ...compactInode.read(this.#view, at) };
    const xattrSize = raw.xattrCount === 0 ? 0 : xattrHeader.size + 4 * (raw.xattrCount - 1);
    const device = (raw.mode & S_IFMT) === S_IFCHR || (raw.mode & S_IFMT) === S_IFBLK;
    const located: Located = {
      nid,
      mode: raw.mode,
      uid: raw.uid,
      gid: raw.gid,
      size: raw.size,
      mtimeSec: raw.mtime,
      mtimeNsec: raw.mtimeNsec,
      nlink: raw.nlink,
      rdev: device ? raw.u : 0,
      layout,
      u: raw.u,
      xattrAt: at + headSize,
      xattrSize,
      bodyAt: at + headSize + xattrSize,
    };
    if (located.bodyAt > fileSize) throw this.#invalid(nid, 'its xattrs run over the end of the file');
    if (!Number.isSafeInteger(located.mtimeSec)) throw this.#invalid(nid, 'its time is beyond what any file has');
    this.#checkBody(located);
    return located;
  }

  /** What an inode of each type may look like, and that its body is inside the file. */
  #checkBody(inode: Located): void {
    const { nid, layout, size, mode } = inode;
    const type = mode & S_IFMT;
    if (fileTypeOf(mode) === 0) throw this.#invalid(nid, `mode 0${mode.toString(8)} has no file type`);
    if (type === S_IFREG) {
      if (layout !== LAYOUT_CHUNKED) throw this.#invalid(nid, `a regular file with data layout ${layout}`);
      const exponent = inode.u & CHUNK_FORMAT_BITS_MASK;
      if ((inode.u & ~CHUNK_FORMAT_BITS_MASK) !== CHUNK_FORMAT_INDEXES || BLOCK_SIZE * 2 ** exponent < this.chunkSize) {
        throw this.#invalid(nid, `chunk format 0x${inode.u.toString(16)}`);
      }
      const addresses = Math.ceil(size / this.chunkSize) * chunkAddress.size;
      if (size > FILE_SIZE_MAX || alignUp(inode.bodyAt, 8) + addresses > this.bytes.length) {
        throw this.#invalid(nid, `a file of ${size} bytes has more chunk addresses than there is room for`);
      }
      return;
    }
    if (type !== S_IFDIR && type !== S_IFLNK) {
      if (size !== 0) throw this.#invalid(nid, `a special file of ${size} bytes`);
      return;
    }
    if (layout !== LAYOUT_PLAIN && layout !== LAYOUT_INLINE) throw this.#invalid(nid, `data layout ${layout}`);
    if (type === S_IFLNK && (size === 0 || size > SYMLINK_SIZE_MAX))
      throw this.#invalid(nid, `a symlink of ${size} bytes`);
    const tail = layout === LAYOUT_INLINE ? size % BLOCK_SIZE : 0;
    const blocksEnd = size > tail ? inode.u * BLOCK_SIZE + size - tail : 0;
    if (size > this.bytes.length || blocksEnd > this.bytes.length || inode.bodyAt + tail > this.bytes.length) {
      throw this.#invalid(nid, `${size} bytes of data run over the end of the file`);
    }
    if (tail > 0 && (inode.bodyAt % BLOCK_SIZE) + tail > BLOCK_SIZE) {
      throw this.#invalid(nid, 'its inline data crosses a block');
    }
  }

  #directory(nid: number): Located {
    const directory = this.#locate(nid);
    if ((directory.mode & S_IFMT) !== S_IFDIR) throw this.#invalid(nid, 'no directory');
    return directory;
  }

  #file(nid: number): Located {
    const file = this.#locate(nid);
    if ((file.mode & S_IFMT) !== S_IFREG) throw this.#invalid(nid, 'no regular file');
    return file;
  }

  #blockCount(directory: Located): number {
    return Math.ceil(directory.size / BLOCK_SIZE);
  }

  /** Where block `index` of a directory's or symlink's data lies. */
  #dataBlock(inode: Located, index: number): { at: number; length: number } {
    const length = Math.min(BLOCK_SIZE, inode.size - index * BLOCK_SIZE);
    const inline = inode.layout === LAYOUT_INLINE && length < BLOCK_SIZE;
    return { at: inline ? inode.bodyAt : (inode.u + index) * BLOCK_SIZE, length };
  }

  #block(directory: Located, index: number): { at: number; length: number; count: number } {
    const { at, length } = this.#dataBlock(directory, index);
    const firstName = length < dirent.size ? 0 : dirent.fields.nameOffset.read(this.#view, at);
    if (firstName < dirent.size || firstName % dirent.size !== 0 || firstName > length) {
      throw this.#invalid(directory.nid, `block ${index}: first name at ${firstName} of ${length} bytes`);
    }
    return { at, length, count: firstName / dirent.size };
  }

  #nameIn(directory: Located, block: { at: number; length: number; count: number }, entry: number): ByteString {
    const offsetOf = (i: number) => dirent.fields.nameOffset.read(this.#view, block.at + i * dirent.size);
    const start = offsetOf(entry);
    const last = entry === block.count - 1;
    let end = last ? block.length : offsetOf(entry + 1);
    if (start < block.count * dirent.size || start >= end || end > block.length) {
      throw this.#invalid(directory.nid, `entry ${entry}: name from ${start} to ${end} of ${block.length} bytes`);
    }
    const bytes = this.bytes.subarray(block.at + start, block.at + end);
    if (last) {
      const nul = bytes.indexOf(0);
      if (nul >= 0) end = start + nul;
    }
    const name = bytesToString(bytes.subarray(0, end - start));
    if (name.length === 0 || name.length > NAME_SIZE_MAX || name.includes('/') || name.includes('\0')) {
      throw this.#invalid(directory.nid, `entry ${entry}: a name of ${name.length} bytes, or with / or NUL in it`);
    }
    return name;
  }

  #invalid(nid: number, message: string): NaiadError {
    return new NaiadError('BOOTSTRAP_INVALID', `bootstrap: inode ${nid}: ${message}`);
  }
}
