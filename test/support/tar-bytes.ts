// Tar archives made byte by byte, for headers that no tar program writes.

import { viewOf } from '../../src/format/record.ts';
import { TAR_BLOCK_SIZE, tarHeader } from '../../src/format/tar/header.ts';

export interface Member {
  readonly name?: string;
  readonly type?: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: number;
  readonly linkname?: string;
  readonly magic?: string;
  readonly prefix?: string;
  readonly devmajor?: number;
  readonly devminor?: number;
  readonly body?: Uint8Array | string;
  /** What the header says, where that is not the size of the body. */
  readonly size?: number;
  /** Changes the header before its checksum is made. */
  readonly patch?: (header: Uint8Array) => void;
  readonly checksum?: 'unsigned' | 'signed' | 'wrong';
}

export const USTAR = 'ustar\x0000';
export const GNU = 'ustar  \0';

const octal = (value: number, size: number) => latin1(`${value.toString(8).padStart(size - 1, '0')}\0`);

export function latin1(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

/** GNU's base-256 form of a number. */
export function base256(value: bigint, size: number): Buffer {
  const bytes = Buffer.alloc(size);
  let rest = value;
  for (let i = size - 1; i >= 0; i--) {
    bytes[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  bytes[0] = ((bytes[0] as number) & 0x7f) | 0x80;
  return bytes;
}

/** Header, body and padding of one member. */
export function member(options: Member): Buffer {
  const body = typeof options.body === 'string' ? latin1(options.body) : (options.body ?? new Uint8Array(0));
  const header = tarHeader.encode({
    name: options.name ?? 'file',
    mode: octal(options.mode ?? 0o644, 8),
    uid: octal(options.uid ?? 0, 8),
    gid: octal(options.gid ?? 0, 8),
    size: octal(options.size ?? body.length, 12),
    mtime: octal(options.mtime ?? 0, 12),
    checksum: latin1('        '),
    typeflag: (options.type ?? '0').charCodeAt(0),
    linkname: options.linkname ?? '',
    magic: latin1((options.magic ?? USTAR).padEnd(8, '\0')),
    uname: '',
    gname: '',
    devmajor: octal(options.devmajor ?? 0, 8),
    devminor: octal(options.devminor ?? 0, 8),
    prefix: options.prefix ?? '',
  });
  options.patch?.(header);
  const sum = sumOf(options.checksum === 'signed' ? new Int8Array(header.buffer, header.byteOffset) : header);
  tarHeader.fields.checksum.write(viewOf(header), 0, octal(options.checksum === 'wrong' ? sum + 1 : sum, 8));
  const padding = new Uint8Array((TAR_BLOCK_SIZE - (body.length % TAR_BLOCK_SIZE)) % TAR_BLOCK_SIZE);
  return Buffer.concat([header, body, padding]);
}

/** A loop, because tests make hundred thousands of headers. */
function sumOf(bytes: Uint8Array | Int8Array): number {
  let sum = 0;
  for (const byte of bytes) sum += byte;
  return sum;
}

/** A pax record with its length in front. */
export function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length + 1;
  while (`${length}`.length + rest.length !== length) length = `${length}`.length + rest.length;
  return `${length}${rest}`;
}

/** A pax header with these records for the member behind it. */
export function pax(records: readonly (readonly [string, string])[], type = 'x'): Buffer {
  return member({ name: 'pax', type, body: records.map(([key, value]) => paxRecord(key, value)).join('') });
}

export const END = Buffer.alloc(2 * TAR_BLOCK_SIZE);

export function archive(...parts: readonly Uint8Array[]): Buffer {
  return Buffer.concat([...parts, END]);
}

/** `bytes` in pieces of `size`. */
export async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** Patches a header at an offset. */
export const at = (offset: number, bytes: Uint8Array) => (header: Uint8Array) => header.set(bytes, offset);

export const size12 = (value: number): Buffer => latin1(`${value.toString(8).padStart(11, '0')}\0`);

/** Extents of an old GNU sparse header or extension: offset and size of each. */
export const extents = (...numbers: readonly number[]): Buffer => Buffer.concat(numbers.map(size12));

/** Patches a header into one of an old GNU sparse file. */
export const sparseHeader = (realSize: number, map: Buffer, isExtended: number) => (header: Uint8Array) => {
  header.set(map, 386);
  header[482] = isExtended;
  header.set(size12(realSize), 483);
};

/** An archive must mean the same however its bytes are cut into pieces. */
export const PIECE_SIZES: readonly number[] = [1 << 20, 512, 700, 1];
