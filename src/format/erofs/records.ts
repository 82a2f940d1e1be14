// The records of EROFS that RAFS v6 uses (erofs-utils include/erofs_fs.h; rafs/src/metadata/layout/v6.rs).
//
//   0        1024          1152            1408               meta            meta + 32 × nid
//   | zeros  | super block | RAFS part ... | device slots ... | inode area ... | inode | xattrs | data or addresses |
import { ascii, i53, type RecordOf, record, reserved, u8, u16, u32, u53 } from '../record.ts';

export const EROFS_MAGIC = 0xe0f5e1e2;
export const SUPERBLOCK_OFFSET = 1024;
export const BLOCK_SIZE = 4096;
export const BLOCK_BITS = 12;
/** Inodes lie on multiples of this from the start of the inode area; a nid counts them. */
export const SLOT_SIZE = 32;
/** Feature bits that say what a reader must understand: chunk-based files and a device table. */
export const FEATURE_INCOMPAT_RAFS = 0x0000_000c;
/** The bit by which RAFS v6 marks its images (rafs layout/v6.rs, EROFS_FEATURE_COMPAT_RAFS_V6). */
export const FEATURE_COMPAT_RAFS = 0x4000_0000;

export const superblock = record('erofs.superblock', 128, {
  magic: u32(0, '0xE0F5E1E2'),
  checksum: u32(4, 'zero; the checksum feature is never set'),
  featureCompat: u32(8, '0x40000000 marks RAFS v6'),
  blockBits: u8(12, 'log2 of the block size'),
  extSlots: u8(13, 'zero'),
  rootNid: u16(14, 'nid of the root directory'),
  inos: u53(16, 'names in the image, the root included'),
  buildTime: u53(24, 'zero, for reproducible images'),
  buildTimeNsec: u32(32, 'zero'),
  blocks: u32(36, 'sum of the blocks of all device slots'),
  metaBlkaddr: u32(40, 'block at which the inode area starts'),
  xattrBlkaddr: u32(44, 'zero: no shared xattrs'),
  uuid: ascii(48, 16, 'zero'),
  volumeName: ascii(64, 16, 'zero'),
  featureIncompat: u32(80, '0xC: chunk-based files, device table'),
  compression: u16(84, 'zero'),
  extraDevices: u16(86, 'number of device slots'),
  devtSlotoff: u16(88, 'offset of the device slots in units of 128 bytes: 11'),
  dirBlockBits: u8(90, 'zero'),
  reserved: reserved(91, 37),
});

export const DEVICE_SLOTS_OFFSET = 1408;
export const deviceSlot = record('erofs.device_slot', 128, {
  tag: ascii(0, 64, 'id of the blob, 64 hex digits'),
  blocks: u32(64, 'blocks of the device'),
  mappedBlkaddr: u32(68, 'where the device lies when all are laid behind the bootstrap on one flat device'),
  reserved: reserved(72, 56),
});

/** Data layouts of an inode (`format` bits 1 to 3). */
export const LAYOUT_PLAIN = 0;
export const LAYOUT_INLINE = 2;
export const LAYOUT_CHUNKED = 4;

export const extendedInode = record('erofs.inode_extended', 64, {
  format: u16(0, 'bit 0: extended; bits 1-3: data layout; others zero'),
  xattrCount: u16(2, '0, or (bytes of xattr area - 12) / 4 + 1'),
  mode: u16(4, 'type and permissions as in stat(2)'),
  reserved: reserved(6, 2),
  size: u53(8, 'bytes of data'),
  u: u32(16, 'first full data block, device number or chunk format, by type'),
  ino: u32(20, 'sequence number when the image was built'),
  uid: u32(24, 'owner'),
  gid: u32(28, 'group'),
  mtime: i53(32, 'seconds since 1970'),
  mtimeNsec: u32(40, 'nanoseconds'),
  nlink: u32(44, 'names of a file; of a directory 2 and its subdirectories'),
  reserved2: reserved(48, 16),
});

export const compactInode = record('erofs.inode_compact', 32, {
  format: u16(0, 'bit 0: 0; bits 1-3: data layout; others zero'),
  xattrCount: u16(2, 'as in the extended inode'),
  mode: u16(4, 'type and permissions as in stat(2)'),
  nlink: u16(6, 'number of names'),
  size: u32(8, 'bytes of data'),
  reserved: reserved(12, 4),
  u: u32(16, 'as in the extended inode'),
  ino: u32(20, 'sequence number when the image was built'),
  uid: u16(24, 'owner'),
  gid: u16(26, 'group'),
  reserved2: reserved(28, 4),
});

export const dirent = record('erofs.dirent', 12, {
  nid: u53(0, 'slot of the inode'),
  nameOffset: u16(8, 'start of the name, in bytes from the start of the directory block'),
  type: u8(10, '1 regular, 2 directory, 3 character, 4 block, 5 fifo, 6 socket, 7 symlink'),
  reserved: reserved(11, 1),
});

export const xattrHeader = record('erofs.xattr_header', 12, {
  nameFilter: u32(0, 'zero'),
  sharedCount: u8(4, 'zero: no shared xattrs'),
  reserved: reserved(5, 7),
});

export const xattrEntry = record('erofs.xattr_entry', 4, {
  nameSize: u8(0, 'bytes of the name behind its prefix'),
  prefix: u8(1, '1 user., 2 and 3 the POSIX ACLs, 4 trusted., 6 security.'),
  valueSize: u16(2, 'bytes of the value, which follows the name'),
});

/** One per chunk of a regular file: `erofs_inode_chunk_index` of the kernel, with the chunk's index in spare bits. */
export const chunkAddress = record('erofs.chunk_address', 8, {
  chunkLow: u16(0, 'bits 0-15 of the chunk index'),
  device: u16(2, 'bits 0-7: blob index + 1; bits 8-15: bits 16-23 of the chunk index'),
  block: u32(4, 'block of the device; 0xFFFFFFFF would be a hole'),
});
/** `u` of a regular file: this bit, and log2(chunk size / block size) in bits 0-4. */
export const CHUNK_FORMAT_INDEXES = 0x20;
export const CHUNK_FORMAT_BITS_MASK = 0x1f;
export const CHUNK_ADDRESS_HOLE = 0xffff_ffff;

export type Superblock = RecordOf<typeof superblock>;

/** Prefixes an xattr name can have, by the index that replaces them. The two ACL names are whole names. */
export const XATTR_PREFIXES = [
  { index: 1, prefix: 'user.' },
  { index: 2, prefix: 'system.posix_acl_access' },
  { index: 3, prefix: 'system.posix_acl_default' },
  { index: 4, prefix: 'trusted.' },
  { index: 6, prefix: 'security.' },
] as const;

/** Index and remaining name of an xattr; undefined when the format cannot hold it. */
export function splitXattrName(name: string): { index: number; suffix: string } | undefined {
  for (const { index, prefix } of XATTR_PREFIXES) {
    const whole = !prefix.endsWith('.');
    if (whole ? name === prefix : name.startsWith(prefix) && name.length > prefix.length) {
      return { index, suffix: name.slice(prefix.length) };
    }
  }
  return undefined;
}

/** EROFS file type of a directory entry, by the type bits of a mode. */
const FILE_TYPES = [
  { type: 1, mode: 0o100000 },
  { type: 2, mode: 0o040000 },
  { type: 3, mode: 0o020000 },
  { type: 4, mode: 0o060000 },
  { type: 5, mode: 0o010000 },
  { type: 6, mode: 0o140000 },
  { type: 7, mode: 0o120000 },
] as const;

/** The file type of `mode`, 0 when it has none. */
export function fileTypeOf(mode: number): number {
  const bits = mode & 0o170000;
  return FILE_TYPES.find((entry) => entry.mode === bits)?.type ?? 0;
}
