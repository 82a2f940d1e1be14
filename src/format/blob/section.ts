// The 512-byte header behind each section of a blob (rafs builder, storage/src/meta/toc.rs): a GNU tar header, written
// after the data it describes and without padding.
import type { ByteString } from '../../base/bytes.ts';
import { bytesToString, stringToBytes } from '../../base/bytes.ts';
import { viewOf } from '../record.ts';
import { SECTION_HEADER_SIZE, sectionHeader } from './records.ts';

/** Sizes from here on do not fit 11 octal digits. */
const OCTAL_SIZE_MAX = 8 ** 11;

/** The header of a section of `size` bytes. */
export function encodeSectionHeader(name: ByteString, size: number): Uint8Array {
  const header = sectionHeader.encode({
    name,
    size: encodeSize(size),
    mtime: '00000000000',
    checksum: stringToBytes('        '),
    typeflag: '0',
    magic: 'ustar  ',
  });
  const checksum = stringToBytes(`${sumOf(header).toString(8).padStart(7, '0')}\0`);
  sectionHeader.fields.checksum.write(viewOf(header), 0, checksum);
  return header;
}

/** Name and size in a section header, or undefined when these 512 bytes are none. */
export function decodeSectionHeader(bytes: Uint8Array): { name: ByteString; size: number } | undefined {
  if (bytes.length !== SECTION_HEADER_SIZE) return undefined;
  const header = sectionHeader.read(viewOf(bytes), 0);
  if (!header.magic.startsWith('ustar')) return undefined;
  const blank = Uint8Array.from(bytes);
  sectionHeader.fields.checksum.write(viewOf(blank), 0, stringToBytes('        '));
  const declared = Number.parseInt(bytesToString(header.checksum).replace(/[\0 ]+$/, ''), 8);
  if (declared !== sumOf(blank)) return undefined;
  const size = decodeSize(header.size);
  return size === undefined ? undefined : { name: header.name, size };
}

function encodeSize(size: number): Uint8Array {
  if (size < OCTAL_SIZE_MAX) return stringToBytes(`${size.toString(8).padStart(11, '0')}\0`);
  const field = Buffer.alloc(12);
  field[0] = 0x80;
  field.writeBigUInt64BE(BigInt(size), 4);
  return field;
}

function decodeSize(field: Uint8Array): number | undefined {
  const size =
    ((field[0] as number) & 0x80) !== 0
      ? Number(Buffer.from(field).readBigUInt64BE(4))
      : Number.parseInt(bytesToString(field).replace(/[\0 ]+$/, ''), 8);
  return Number.isSafeInteger(size) && size >= 0 ? size : undefined;
}

function sumOf(bytes: Uint8Array): number {
  let sum = 0;
  for (const byte of bytes) sum += byte;
  return sum;
}
