// Sparse files in tars: a map says which extents of the file the stored bytes are, the rest are holes. Four ways to write
// the map: old GNU (in the header and extension blocks), and three in pax records (GNU.sparse 0.0, 0.1; 1.0 in the body).
import type { ByteString } from '../base/bytes.ts';
import { NaiadError } from '../base/errors.ts';
import { FILE_SIZE_MAX, TAR_SPARSE_EXTENTS_MAX } from '../base/limits.ts';
import { zeroPieces } from '../base/zeros.ts';
import { viewOf } from '../format/record.ts';
import {
  TAR_BLOCK_SIZE,
  TAR_GNU_TAIL_OFFSET,
  tarGnuTail,
  tarSparseExtension,
  tarSparseExtent,
} from '../format/tar/header.ts';
import { parseTarNumber } from '../format/tar/number.ts';
import { type PaxRecord, parsePaxNumber } from '../format/tar/pax.ts';

export interface SparseMap {
  /** Size of the file, holes included. */
  readonly size: number;
  /** Offset and size of each extent in turn; ascending, without overlap, within the file. */
  readonly extents: readonly number[];
}

/** Collects the extents of an old GNU sparse header and its extension blocks. */
export class GnuSparseReader {
  /** True when no extension block follows. */
  complete: boolean;
  readonly #extents: number[] = [];
  readonly #size: number;
  readonly #member: { readonly offset: number; readonly size: number };

  constructor(header: Uint8Array, member: { readonly offset: number; readonly size: number }) {
    this.#member = member;
    const view = viewOf(header);
    const { fields } = tarGnuTail;
    this.#size = parseTarNumber(fields.realSize.read(view, TAR_GNU_TAIL_OFFSET)) ?? -1;
    this.#take(fields.sparse.read(view, TAR_GNU_TAIL_OFFSET));
    this.complete = fields.isExtended.read(view, TAR_GNU_TAIL_OFFSET) === 0;
  }

  extend(block: Uint8Array): void {
    const view = viewOf(block);
    this.#take(tarSparseExtension.fields.sparse.read(view, 0));
    this.complete = tarSparseExtension.fields.isExtended.read(view, 0) === 0;
  }

  finish(): SparseMap {
    return checkedMap(this.#extents, this.#size, this.#member.size, this.#member.offset);
  }

  #take(area: Uint8Array): void {
    const view = viewOf(area);
    for (let at = 0; at < area.length; at += tarSparseExtent.size) {
      const { offset, size } = tarSparseExtent.read(view, at);
      // An extent that was never written ends the list.
      if (size[0] === 0) return;
      addExtent(this.#extents, parseTarNumber(offset), parseTarNumber(size), this.#member.offset);
    }
  }
}

function addExtent(extents: number[], offset: number | undefined, size: number | undefined, memberOffset: number) {
  if (offset === undefined || size === undefined) throw invalid(memberOffset, 'an extent is no number');
  if (extents.length >= 2 * TAR_SPARSE_EXTENTS_MAX) {
    throw new NaiadError(
      'LIMIT_EXCEEDED',
      `tar member at byte ${memberOffset}: more than ${TAR_SPARSE_EXTENTS_MAX} extents`,
    );
  }
  extents.push(offset, size);
}

function invalid(memberOffset: number, what: string): NaiadError {
  return new NaiadError('ARCHIVE_INVALID', `tar member at byte ${memberOffset}: sparse map: ${what}`);
}

function checkedMap(extents: readonly number[], size: number, storedSize: number, memberOffset: number): SparseMap {
  if (!(size >= 0 && size <= FILE_SIZE_MAX)) throw invalid(memberOffset, `file size ${size} is out of range`);
  let end = 0;
  let stored = 0;
  for (let i = 0; i < extents.length; i += 2) {
    const offset = extents[i] as number;
    const length = extents[i + 1] as number;
    if (offset < end || length < 0 || offset + length > size) {
      throw invalid(
        memberOffset,
        `extent ${i / 2} (${offset}, ${length}) overlaps or leaves the file of ${size} bytes`,
      );
    }
    end = offset + length;
    stored += length;
  }
  if (stored !== storedSize) throw invalid(memberOffset, `extents hold ${stored} bytes, the archive has ${storedSize}`);
  return { size, extents };
}

/** What pax records say about a sparse file. */
export interface PaxSparse {
  /** The path, where the header's is a stand-in. */
  readonly name: ByteString | undefined;
  /** Where the map is: here, or at the start of the body together with nothing but the size of the file. */
  readonly map: SparseMap | undefined;
  readonly size: number;
}

/** Reads GNU.sparse.* records of versions 0.0, 0.1 and 1.0; undefined when there are none. */
export function paxSparse(
  records: readonly PaxRecord[],
  member: { readonly offset: number; readonly size: number },
): PaxSparse | undefined {
  if (!records.some(({ key }) => key.startsWith('GNU.sparse.'))) return undefined;
  const last = (key: string) => records.findLast((record) => record.key === `GNU.sparse.${key}`)?.value;
  const name = last('name');
  const size = parsePaxNumber(last('realsize') ?? last('size') ?? '') ?? -1;
  if (last('major') !== undefined) {
    if (last('major') !== '1' || last('minor') !== '0') {
      const version = `${last('major')}.${last('minor')}`;
      throw new NaiadError('ARCHIVE_UNSUPPORTED', `tar member at byte ${member.offset}: sparse format ${version}`);
    }
    if (!(size >= 0 && size <= FILE_SIZE_MAX)) throw invalid(member.offset, 'the size of the file is missing');
    return { name, map: undefined, size };
  }
  const extents: number[] = [];
  const listed = last('map');
  const pairs =
    listed === undefined
      ? records
          .filter(({ key }) => key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes')
          .map(({ value }) => value)
      : listed === ''
        ? []
        : listed.split(',');
  if (pairs.length % 2 !== 0) throw invalid(member.offset, 'an offset without a size');
  for (let i = 0; i < pairs.length; i += 2) {
    addExtent(extents, parsePaxNumber(pairs[i] as string), parsePaxNumber(pairs[i + 1] as string), member.offset);
  }
  return { name, map: checkedMap(extents, size, member.size, member.offset), size };
}

/** Longest map of version 1.0: a count and two numbers of 15 digits an extent. */
const BODY_MAP_SIZE_MAX = 32 * (TAR_SPARSE_EXTENTS_MAX + 1);

/**
 * Splits the body of a version 1.0 member into its map (decimal lines: the count, then offset and size of each extent,
 * padded to a block) and the stored bytes.
 */
export async function readBodyMap(
  body: AsyncIterable<Uint8Array>,
  size: number,
  member: { readonly offset: number; readonly size: number },
): Promise<{ map: SparseMap; rest: AsyncIterable<Uint8Array> }> {
  const iterator = body[Symbol.asyncIterator]();
  const numbers: number[] = [];
  let mapSize = 0;
  let digits = '';
  let piece: Uint8Array = new Uint8Array(0);
  let at = 0;
  const wanted = () => 1 + 2 * (numbers[0] ?? 0);
  const next = async () => {
    const result = await iterator.next();
    if (result.done) throw invalid(member.offset, 'the body ends inside the map');
    piece = result.value;
    at = 0;
  };
  while (numbers.length < wanted()) {
    if (at === piece.length) {
      await next();
      continue;
    }
    const char = String.fromCharCode(piece[at++] as number);
    if (++mapSize > BODY_MAP_SIZE_MAX) throw invalid(member.offset, 'it does not end');
    if (char !== '\n') {
      digits += char;
      if (digits.length > 16) throw invalid(member.offset, 'a number is too long');
      continue;
    }
    const number = parsePaxNumber(digits);
    if (number === undefined) throw invalid(member.offset, `"${digits}" is no number`);
    if (numbers.length === 0 && number > TAR_SPARSE_EXTENTS_MAX) throw invalid(member.offset, `${number} extents`);
    numbers.push(number);
    digits = '';
  }
  for (; mapSize % TAR_BLOCK_SIZE !== 0; mapSize++, at++) if (at === piece.length) await next();
  const map = checkedMap(numbers.slice(1), size, member.size - mapSize, member.offset);
  const first = piece.subarray(at);
  return {
    map,
    rest: (async function* () {
      if (first.length > 0) yield first;
      yield* { [Symbol.asyncIterator]: () => iterator };
    })(),
  };
}

/** The bytes of a sparse file: `stored` where the map has extents, zeros elsewhere. */
export async function* expandSparse(stored: AsyncIterable<Uint8Array>, map: SparseMap): AsyncGenerator<Uint8Array> {
  let position = 0;
  let index = 0;
  let extentLeft = 0;
  function* zerosTo(end: number) {
    yield* zeroPieces(position, end);
    position = end;
  }
  for await (let piece of stored) {
    while (piece.length > 0) {
      while (extentLeft === 0) {
        yield* zerosTo(map.extents[index] as number);
        extentLeft = map.extents[index + 1] as number;
        index += 2;
      }
      const step = Math.min(extentLeft, piece.length);
      yield piece.subarray(0, step);
      piece = piece.subarray(step);
      position += step;
      extentLeft -= step;
    }
  }
  yield* zerosTo(map.size);
}
