// The 512-byte header in front of each member of a tar archive, and what GNU tar keeps in its tail for sparse files.
// Five dialects share it: V7 (no magic), ustar and pax (`ustar\0` `00`), GNU and old GNU (`ustar  \0`).
//
//   header | body, padded to 512 | header | body | … | two zero blocks
import { ascii, bytes, record, reserved, u8, viewOf } from '../record.ts';
import { parseTarNumber } from './number.ts';

export const TAR_BLOCK_SIZE = 512;

export const tarHeader = record('tar.header', TAR_BLOCK_SIZE, {
  name: ascii(0, 100, 'path, or its end when `prefix` is used'),
  mode: bytes(100, 8, 'permission bits, set-uid, set-gid and sticky'),
  uid: bytes(108, 8, 'owner'),
  gid: bytes(116, 8, 'group'),
  size: bytes(124, 12, 'bytes of the body'),
  mtime: bytes(136, 12, 'seconds since 1970'),
  checksum: bytes(148, 8, 'sum of all bytes with this field as spaces'),
  typeflag: u8(156, 'what the member is, see TAR_TYPES'),
  linkname: ascii(157, 100, 'target of a link'),
  magic: bytes(257, 8, 'dialect'),
  uname: ascii(265, 32, 'name of the owner'),
  gname: ascii(297, 32, 'name of the group'),
  devmajor: bytes(329, 8, 'device number'),
  devminor: bytes(337, 8, 'device number'),
  prefix: ascii(345, 155, 'ustar: start of the path, without the slash'),
  reserved: reserved(500, 12),
});

/** Where the GNU dialect has its own fields in place of `prefix`. */
export const TAR_GNU_TAIL_OFFSET = 345;
export const tarGnuTail = record('tar.gnu_tail', 167, {
  atime: bytes(0, 12, 'seconds since 1970'),
  ctime: bytes(12, 12, 'seconds since 1970'),
  offset: bytes(24, 12, 'multi-volume archives: where this part starts'),
  longnames: reserved(36, 5),
  sparse: bytes(41, 96, 'four extents of a sparse file'),
  isExtended: u8(137, 'not 0: extension blocks with more extents follow'),
  realSize: bytes(138, 12, 'size of the sparse file with its holes'),
  reserved: reserved(150, 17),
});

/** Follows a sparse header, and another extension, while `isExtended` says so. Comes before the body. */
export const tarSparseExtension = record('tar.sparse_extension', TAR_BLOCK_SIZE, {
  sparse: bytes(0, 504, '21 extents of a sparse file'),
  isExtended: u8(504, 'not 0: another extension follows'),
  reserved: reserved(505, 7),
});

/** One extent: data of `size` bytes at `offset` of the file. All zero where unused. */
export const tarSparseExtent = record('tar.sparse_extent', 24, {
  offset: bytes(0, 12, 'bytes from the start of the file'),
  size: bytes(12, 12, 'bytes'),
});

/** Letters of `typeflag`. V7 has NUL in place of `0`. */
export const TAR_TYPES = {
  regularV7: '\0',
  regular: '0',
  link: '1',
  symlink: '2',
  character: '3',
  block: '4',
  directory: '5',
  fifo: '6',
  contiguous: '7',
  gnuSparse: 'S',
  gnuLongName: 'L',
  gnuLongLink: 'K',
  gnuVolumeLabel: 'V',
  pax: 'x',
  paxGlobal: 'g',
} as const;

/** Type letters naiad does not read, by what they are. */
export const TAR_TYPES_REFUSED: Readonly<Record<string, string>> = {
  D: 'a directory dump of an incremental GNU backup',
  M: 'a part of a multi-volume archive',
  N: 'an old GNU table of long names',
  X: 'a Solaris extended header',
};

/** True for a block of zeros, two of which end an archive. */
export function isZeroBlock(block: Uint8Array): boolean {
  return block.every((byte) => byte === 0);
}

/** The checksum field as a number, and whether it is the sum of the block's bytes (some old tars summed signed bytes). */
export function verifyTarChecksum(block: Uint8Array): 'unsigned' | 'signed' | undefined {
  const { unsigned, signed } = tarChecksums(block);
  const recorded = parseTarNumber(tarHeader.fields.checksum.read(viewOf(block), 0));
  if (recorded === unsigned) return 'unsigned';
  return recorded === signed ? 'signed' : undefined;
}

function tarChecksums(block: Uint8Array): { unsigned: number; signed: number } {
  const { offset, size } = tarHeader.fields.checksum;
  let unsigned = size * 0x20;
  let high = 0;
  for (let i = 0; i < TAR_BLOCK_SIZE; i++) {
    if (i === offset) i += size;
    const byte = block[i] as number;
    unsigned += byte;
    high += byte >>> 7;
  }
  return { unsigned, signed: unsigned - high * 256 };
}

/** A copy of `block` whose name does not end with a slash, with an unsigned checksum. */
export function withTarFileName(block: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(block);
  const { name } = tarHeader.fields;
  name.write(viewOf(copy), 0, `${name.read(viewOf(copy), 0).slice(0, -1)}_`);
  return withTarSum(copy);
}

/** A copy of `block` whose size field says `size`, with an unsigned checksum. */
export function withTarSize(block: Uint8Array, size: number): Uint8Array {
  const copy = Uint8Array.from(block);
  const view = viewOf(copy);
  const { fields } = tarHeader;
  if (parseTarNumber(fields.size.read(view, 0)) !== size) fields.size.write(view, 0, octalField(size, 12));
  return withTarSum(copy);
}

/** Sets the checksum of `block`, and returns it. */
export function withTarSum(block: Uint8Array): Uint8Array {
  tarHeader.fields.checksum.write(viewOf(block), 0, octalField(tarChecksums(block).unsigned, 8));
  return block;
}

/** The largest number of an octal field of `size` bytes. */
export function octalMax(size: number): number {
  return 8 ** (size - 1) - 1;
}

/** From 0 to `octalMax(size)`. */
export function octalField(value: number, size: number): Uint8Array {
  return Buffer.from(`${value.toString(8).padStart(size - 1, '0')}\0`, 'latin1');
}
