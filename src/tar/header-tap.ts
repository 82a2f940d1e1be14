// tar-stream frames members and streams their bodies, but it decodes pax values as text, keeps times as milliseconds and
// does not know sparse files. The tap stands in front of it: it walks the headers of the passing bytes, keeps what
// tar-stream loses for the reader, and takes out or mends the few headers that tar-stream would frame wrongly. Bodies pass
// untouched and uncopied.
import { NaiadError } from '../base/errors.ts';
import { FILE_SIZE_MAX, TAR_HEADER_SIZE_MAX } from '../base/limits.ts';
import { alignUp } from '../base/units.ts';
import { viewOf } from '../format/record.ts';
import {
  isZeroBlock,
  TAR_BLOCK_SIZE,
  TAR_TYPES,
  TAR_TYPES_REFUSED,
  tarHeader,
  verifyTarChecksum,
  withTarFileName,
  withTarSize,
} from '../format/tar/header.ts';
import { parseTarNumber } from '../format/tar/number.ts';
import { type PaxRecord, parsePaxNumber, parsePaxRecords } from '../format/tar/pax.ts';
import { GnuSparseReader, type SparseMap } from './sparse.ts';

/** What the tap knows of one member. Members come in the order in which tar-stream emits entries. */
export interface TarMember {
  /** Where its first header starts in the archive, for messages. */
  readonly offset: number;
  /** Where its body starts in the bytes that tar-stream was given: ties the member to tar-stream's entry. */
  readonly bodyOffset: number;
  /** Bytes of the body as stored. */
  readonly size: number;
  /** Type letter. */
  readonly type: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: number;
  readonly devmajor: number;
  readonly devminor: number;
  /** Pax records in force: global ones, then the member's own. An empty value takes a record back. */
  readonly pax: readonly PaxRecord[];
  /** Of an old GNU sparse member: where its stored bytes go. */
  readonly sparse: SparseMap | undefined;
}

/** Types whose size field may say something although no body follows. */
const BODILESS: ReadonlySet<string> = new Set([
  TAR_TYPES.symlink,
  TAR_TYPES.character,
  TAR_TYPES.block,
  TAR_TYPES.directory,
  TAR_TYPES.fifo,
]);
const META: ReadonlySet<string> = new Set([
  TAR_TYPES.pax,
  TAR_TYPES.paxGlobal,
  TAR_TYPES.gnuLongName,
  TAR_TYPES.gnuLongLink,
]);
/** Keys that make no sense for all members at once, and that tar-stream would apply where we do not. */
const PAX_LOCAL_ONLY = /^(?:path|linkpath|size|GNU\.sparse\..*)$/;

/**
 * What the next bytes are: `header` a header or the end; `body` a body that passes; `meta` the body of a pax or long-name
 * header; `sparse` an extension of the held sparse header; `link` what tells whether the held link has a body;
 * `zero` a block after one of zeros; `ended` nothing that counts.
 */
type State = 'header' | 'body' | 'meta' | 'sparse' | 'link' | 'zero' | 'ended';

export class HeaderTap {
  /** Members found and not yet taken, oldest first; the reader shifts them. */
  readonly members: TarMember[] = [];
  /** True when bytes other than zero follow the end of the archive. Every tar program passes over them. */
  trailing = false;

  #state: State = 'header';
  /** Bytes of the archive consumed, and bytes handed on to tar-stream. */
  #offset = 0;
  #passed = 0;
  /** Bytes of the current body still to come, padding included; and how many of them are padding. */
  #left = 0;
  #padding = 0;
  /** A block that is split over pieces. */
  readonly #split = new Uint8Array(TAR_BLOCK_SIZE);
  #splitSize = 0;
  #meta: { type: string; body: Uint8Array; filled: number } | undefined;
  #paxGlobal: readonly PaxRecord[] = [];
  #pax: readonly PaxRecord[] | undefined;
  /** True when a GNU header before the member's own has its name. */
  #longName = false;
  /** Offset of the first header that belongs to the member to come. */
  #memberOffset: number | undefined;
  #lastOffset = 0;
  /** A header whose fate the next block decides. */
  #held: { block: Uint8Array; member: TarMember; sparse: GnuSparseReader | undefined } | undefined;
  #out: Uint8Array[] = [];

  /**
   * Takes the next bytes of the archive and returns what tar-stream is to be given, nearly always views of `piece`.
   * @throws NaiadError ARCHIVE_INVALID, ARCHIVE_UNSUPPORTED, LIMIT_EXCEEDED
   */
  push(piece: Uint8Array): Uint8Array[] {
    this.#out = [];
    for (let at = 0; at < piece.length; ) {
      const rest = piece.length - at;
      if (this.#state === 'ended') {
        this.trailing ||= !piece.subarray(at).every((byte) => byte === 0);
        this.#offset += rest;
        break;
      }
      let step: number;
      if (this.#state === 'body' || this.#state === 'meta') {
        step = Math.min(this.#left, rest);
        this.#takeBody(piece.subarray(at, at + step));
      } else if (this.#splitSize === 0 && rest >= TAR_BLOCK_SIZE) {
        step = TAR_BLOCK_SIZE;
        this.#takeBlock(piece.subarray(at, at + step));
      } else {
        step = Math.min(TAR_BLOCK_SIZE - this.#splitSize, rest);
        this.#split.set(piece.subarray(at, at + step), this.#splitSize);
        this.#splitSize += step;
        if (this.#splitSize === TAR_BLOCK_SIZE) {
          this.#splitSize = 0;
          this.#takeBlock(Uint8Array.from(this.#split));
        }
      }
      at += step;
    }
    return this.#out;
  }

  /** The archive is over: what is still owed to tar-stream. @throws NaiadError ARCHIVE_INVALID when it is cut short */
  end(): Uint8Array[] {
    this.#out = [];
    if (this.#state === 'link' && this.#splitSize === 0) this.#releaseLink(false);
    // umoci leaves the last body unpadded, and Go's reader asks for no more: nothing of a file is missing.
    if (this.#state === 'body' && this.#left <= this.#padding) this.#takeBody(new Uint8Array(this.#left));
    const complete = this.#state === 'header' || this.#state === 'zero' || this.#state === 'ended';
    if (!complete || this.#splitSize > 0 || this.#memberOffset !== undefined) {
      const end = this.#offset + this.#splitSize;
      const start = this.#memberOffset ?? this.#held?.member.offset ?? this.#lastOffset;
      throw new NaiadError('ARCHIVE_INVALID', `tar is cut short: it ends at byte ${end}, in the member at ${start}`);
    }
    return this.#out;
  }

  #emit(bytes: Uint8Array): void {
    this.#passed += bytes.length;
    const last = this.#out.at(-1);
    // Neighbours in one piece go on as one view, so that tar-stream gets few, large writes.
    if (last !== undefined && last.buffer === bytes.buffer && last.byteOffset + last.length === bytes.byteOffset) {
      this.#out[this.#out.length - 1] = new Uint8Array(last.buffer, last.byteOffset, last.length + bytes.length);
    } else this.#out.push(bytes);
  }

  #takeBody(bytes: Uint8Array): void {
    const meta = this.#meta;
    if (meta) {
      const wanted = bytes.subarray(0, meta.body.length - meta.filled);
      meta.body.set(wanted, meta.filled);
      meta.filled += wanted.length;
    }
    this.#emit(bytes);
    this.#offset += bytes.length;
    this.#left -= bytes.length;
    if (this.#left === 0) this.#endBody();
  }

  #endBody(): void {
    const meta = this.#meta;
    this.#state = 'header';
    this.#meta = undefined;
    if (meta?.type === TAR_TYPES.gnuLongName) this.#longName = true;
    if (meta?.type === TAR_TYPES.pax) this.#pax = parsePaxRecords(meta.body);
    if (meta?.type === TAR_TYPES.paxGlobal) {
      const added = parsePaxRecords(meta.body);
      const refused = added.find(({ key }) => PAX_LOCAL_ONLY.test(key));
      if (refused) this.#refuse(`a global pax header sets ${refused.key}`);
      const keys = new Set(added.map(({ key }) => key));
      this.#paxGlobal = [...this.#paxGlobal.filter(({ key }) => !keys.has(key)), ...added];
      this.#memberOffset = undefined;
    }
  }

  #takeBlock(block: Uint8Array): void {
    if (this.#state === 'link') {
      const hasBody = !isZeroBlock(block) && verifyTarChecksum(block) === undefined;
      this.#releaseLink(hasBody);
      if (hasBody) {
        this.#takeBody(block);
        return;
      }
    }
    if (this.#state === 'sparse') this.#takeSparseExtension(block);
    else if (isZeroBlock(block)) this.#takeZeroBlock();
    else this.#takeHeader(block);
    this.#offset += TAR_BLOCK_SIZE;
  }

  #takeZeroBlock(): void {
    if (this.#memberOffset !== undefined) this.#invalid('zeros where a header is due');
    this.#state = this.#state === 'zero' ? 'ended' : 'zero';
  }

  #takeHeader(block: Uint8Array): void {
    const checksum = verifyTarChecksum(block);
    if (this.#state === 'zero') this.#invalid('a single block of zeros, then more data');
    if (!checksum) this.#invalid(this.#offset === 0 ? 'this is no tar archive' : 'header with a wrong checksum');
    this.#memberOffset ??= this.#offset;
    const view = viewOf(block);
    const { fields } = tarHeader;
    const type = String.fromCharCode(fields.typeflag.read(view, 0));
    const size = this.#number('size', fields.size.read(view, 0));
    if (META.has(type)) {
      this.#takeMeta(block, type, size);
      return;
    }
    const sizeRecord = this.#pax?.findLast(({ key }) => key === 'size')?.value;
    const paxSize = sizeRecord ? parsePaxNumber(sizeRecord) : undefined;
    if (sizeRecord && paxSize === undefined) this.#invalid(`pax size "${sizeRecord}" is no number`);
    const stored = paxSize ?? size;
    if (stored < 0 || stored > FILE_SIZE_MAX) this.#invalid(`size ${stored} is out of range`);
    const refused = TAR_TYPES_REFUSED[type];
    if (refused) this.#refuse(refused);
    // V7 headers have no device numbers and may have anything there.
    const isDevice = type === TAR_TYPES.character || type === TAR_TYPES.block;
    const member = {
      offset: this.#memberOffset,
      bodyOffset: 0,
      size: stored,
      type,
      mode: this.#number('mode', fields.mode.read(view, 0)),
      uid: this.#number('uid', fields.uid.read(view, 0)),
      gid: this.#number('gid', fields.gid.read(view, 0)),
      mtime: this.#number('mtime', fields.mtime.read(view, 0)),
      devmajor: isDevice ? this.#number('devmajor', fields.devmajor.read(view, 0)) : 0,
      devminor: isDevice ? this.#number('devminor', fields.devminor.read(view, 0)) : 0,
      pax: this.#pax ? [...this.#paxGlobal, ...this.#pax] : this.#paxGlobal,
      sparse: undefined,
    } satisfies TarMember;
    const named = this.#longName || member.pax.some(({ key }) => key === 'path');
    this.#pax = undefined;
    this.#longName = false;
    this.#memberOffset = undefined;
    let mended = checksum === 'signed' ? withTarSize(block, size) : block;
    // Of a long name, GNU tar leaves as much here as there is room for, and that may end in the middle of the path.
    if (named && namesDirectory(block, type)) mended = withTarFileName(mended);
    this.#takeMember(mended, member, paxSize !== undefined);
  }

  #takeMember(block: Uint8Array, member: TarMember, paxSized: boolean): void {
    const { type, size } = member;
    if (namesDirectory(block, type) && size > 0) this.#invalid('a directory with a body', member.offset);
    if (BODILESS.has(type) && size > 0) {
      if (paxSized) this.#refuse('a pax size on a member that has no body', member.offset);
      this.#passMember(withTarSize(block, 0), { ...member, size: 0 });
    } else if (type === TAR_TYPES.link && size > 0) {
      if (paxSized) this.#refuse('a pax size on a hard link', member.offset);
      this.#held = { block: Uint8Array.from(block), member, sparse: undefined };
      this.#state = 'link';
    } else if (type === TAR_TYPES.gnuSparse) {
      const sparse = new GnuSparseReader(block, member);
      this.#held = { block: Uint8Array.from(block), member, sparse };
      this.#state = 'sparse';
      if (sparse.complete) this.#releaseSparse();
    } else this.#passMember(block, member);
  }

  /** Hands a header on, and with it the member. */
  #passMember(block: Uint8Array, member: TarMember): void {
    this.#emit(block);
    this.#lastOffset = member.offset;
    this.members.push({ ...member, bodyOffset: this.#passed });
    this.#left = alignUp(member.size, TAR_BLOCK_SIZE);
    this.#padding = this.#left - member.size;
    this.#state = this.#left > 0 ? 'body' : 'header';
  }

  /** GNU tar and Go write a link's size and no body, pax writes both; what comes next tells. */
  #releaseLink(hasBody: boolean): void {
    const held = this.#held;
    this.#held = undefined;
    if (!held) return;
    if (hasBody) this.#passMember(held.block, held.member);
    else this.#passMember(withTarSize(held.block, 0), { ...held.member, size: 0 });
  }

  #takeSparseExtension(block: Uint8Array): void {
    this.#held?.sparse?.extend(block);
    if (this.#held?.sparse?.complete) this.#releaseSparse();
  }

  #releaseSparse(): void {
    const held = this.#held;
    this.#held = undefined;
    if (held?.sparse) this.#passMember(held.block, { ...held.member, sparse: held.sparse.finish() });
  }

  #takeMeta(block: Uint8Array, type: string, size: number): void {
    if (size < 0 || size > TAR_HEADER_SIZE_MAX) {
      throw new NaiadError(
        'LIMIT_EXCEEDED',
        `tar header at byte ${this.#offset}: ${size} bytes of pax records or long name, at most ${TAR_HEADER_SIZE_MAX} are read`,
      );
    }
    this.#emit(verifyTarChecksum(block) === 'signed' ? withTarSize(block, size) : block);
    this.#meta = { type, body: new Uint8Array(size), filled: 0 };
    this.#left = alignUp(size, TAR_BLOCK_SIZE);
    this.#state = 'meta';
    if (this.#left === 0) this.#endBody();
  }

  #number(name: string, field: Uint8Array): number {
    const value = parseTarNumber(field);
    if (value === undefined) this.#invalid(`${name} is no number`);
    return value;
  }

  #invalid(what: string, offset = this.#offset): never {
    throw new NaiadError('ARCHIVE_INVALID', `tar header at byte ${offset}: ${what}`);
  }

  #refuse(what: string, offset = this.#offset): never {
    throw new NaiadError('ARCHIVE_UNSUPPORTED', `tar header at byte ${offset}: ${what}`);
  }
}

/** tar-stream takes a regular member whose header names a directory for one, and expects no body then. */
function namesDirectory(block: Uint8Array, type: string): boolean {
  const regular = type === TAR_TYPES.regular || type === TAR_TYPES.regularV7;
  return regular && tarHeader.fields.name.read(viewOf(block), 0).endsWith('/');
}
