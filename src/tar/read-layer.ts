// A layer's tar as entries. tar-stream frames the members and streams their bodies; the tap in front of it says what
// tar-stream cannot (see header-tap.ts). Whiteouts are ordinary entries here.
import { extract as createExtract, type Extract, type Header } from 'tar-stream';
import { assert } from '../base/assert.ts';
import { type ByteString, displayBytes } from '../base/bytes.ts';
import { throwIfAborted } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { SYMLINK_SIZE_MAX } from '../base/limits.ts';
import { TAR_TYPES } from '../format/tar/header.ts';
import { type PaxRecord, parsePaxNumber, parsePaxTime } from '../format/tar/pax.ts';
import type { LayerEntry } from '../image/layer-entry.ts';
import { type Attributes, makeDevice, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG } from '../image/tree.ts';
import { HeaderTap, type TarMember } from './header-tap.ts';
import { splitPath } from './path.ts';
import { expandSparse, paxSparse, readBodyMap } from './sparse.ts';
import { type OnSkipped, XattrCollector } from './xattrs.ts';

/** What tar-stream emits, with the field that its types leave out. */
interface Source extends AsyncIterable<Uint8Array> {
  readonly header: Header & { readonly byteOffset: number };
  resume(): unknown;
}

export interface ReadLayerOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onSkipped?: OnSkipped | undefined;
}

/**
 * Entries of an uncompressed tar, in its order. The bytes are read to their end, also behind the end of the archive.
 * @throws NaiadError ARCHIVE_INVALID, ARCHIVE_UNSUPPORTED, PATH_UNSAFE, LIMIT_EXCEEDED, and what `bytes` throws
 */
export async function* readLayerTar(
  bytes: AsyncIterable<Uint8Array>,
  options: ReadLayerOptions = {},
): AsyncGenerator<LayerEntry> {
  const onSkipped = options.onSkipped ?? (() => undefined);
  const tap = new HeaderTap();
  const xattrs = new XattrCollector(onSkipped);
  const settings: object = { filenameEncoding: 'latin1', allowUnknownFormat: true }; // its types know neither
  const extract = createExtract(settings);
  const pumped = pump(bytes, tap, extract, options.signal);
  try {
    for await (const stream of extract as AsyncIterable<Source>) {
      const member = tap.members.shift();
      const { header } = stream;
      assert(
        member && header.byteOffset === member.bodyOffset && header.size === member.size,
        `tar-stream frames an entry at ${header.byteOffset} as the tap does`,
      );
      const body = new Body(stream, pumped);
      const entry = await toEntry(member, header, body, { xattrs, onSkipped });
      if (entry) yield entry;
      await body.drain();
    }
    await pumped;
    if (tap.trailing) onSkipped('bytes after the end of the archive');
  } catch (error) {
    throw unreadable(error);
  } finally {
    extract.destroy(null);
    // A failure of the pump has reached the loop as the extractor's; here it only must not float.
    await pumped.catch(() => undefined);
  }
}

/** Feeds the archive through the tap into tar-stream, as fast as entries are consumed. */
async function pump(
  bytes: AsyncIterable<Uint8Array>,
  tap: HeaderTap,
  extract: Extract,
  signal: AbortSignal | undefined,
): Promise<void> {
  const write = async (parts: readonly Uint8Array[]) => {
    for (const part of parts) if (!extract.destroying && !extract.write(part)) await drained(extract);
  };
  try {
    for await (const piece of bytes) {
      throwIfAborted(signal);
      await write(tap.push(piece));
      if (extract.destroying) return;
    }
    await write(tap.end());
    (extract.end as () => unknown)();
  } catch (error) {
    extract.destroy(error as Error);
    throw error;
  }
}

function drained(extract: Extract): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      extract.off('drain', settle);
      extract.off('close', settle);
      resolve();
    };
    extract.on('drain', settle);
    extract.on('close', settle);
  });
}

/** The body of one entry. Closing its iterator early is allowed; tar-stream's own would take the archive down. */
class Body implements AsyncIterable<Uint8Array> {
  readonly #stream: Source;
  readonly #pumped: Promise<void>;
  #iterator: AsyncIterator<Uint8Array> | undefined;
  #ended: boolean;

  /** `pumped` fails with the reason when the archive cannot be read on. */
  constructor(stream: Source, pumped: Promise<void>) {
    this.#stream = stream;
    this.#pumped = pumped;
    this.#ended = !(stream.header.size > 0);
    if (this.#ended) stream.resume();
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return { next: () => this.#next(), return: async () => ({ value: undefined, done: true }) };
  }

  /** Passes over what has not been read. */
  async drain(): Promise<void> {
    while (!this.#ended) await this.#next();
  }

  async #next(): Promise<IteratorResult<Uint8Array>> {
    if (this.#ended) return { value: undefined, done: true };
    this.#iterator ??= this.#stream[Symbol.asyncIterator]();
    try {
      const result = await this.#iterator.next();
      if (result.done) this.#ended = true;
      return result;
    } catch (error) {
      // The stream only says that it was destroyed; whoever destroyed it knows why.
      await this.#pumped.catch((reason) => {
        throw unreadable(reason);
      });
      throw unreadable(error);
    }
  }
}

function unreadable(error: unknown): NaiadError {
  if (error instanceof NaiadError) return error;
  return new NaiadError('ARCHIVE_INVALID', 'the tar cannot be read', { cause: error });
}

interface Context {
  readonly xattrs: XattrCollector;
  readonly onSkipped: OnSkipped;
}

async function toEntry(
  member: TarMember,
  header: Header,
  body: AsyncIterable<Uint8Array>,
  context: Context,
): Promise<LayerEntry | undefined> {
  const sparse = paxSparse(member.pax, member);
  const name = sparse?.name ?? paxText(member, 'path') ?? header.name;
  // A volume label names the tape, not a file.
  if (member.type === TAR_TYPES.gnuVolumeLabel) return undefined;
  if (name === '') throw invalid(member, 'it has no name');
  try {
    const path = splitPath(name);
    const linkname = paxText(member, 'linkpath') ?? header.linkname ?? '';
    switch (member.type) {
      case TAR_TYPES.regular:
      case TAR_TYPES.regularV7:
      case TAR_TYPES.contiguous:
      case TAR_TYPES.gnuSparse:
        if (name.endsWith('/') && member.size === 0) break; // how V7 writes a directory
        return await fileEntry(member, path, body, sparse, context);
      case TAR_TYPES.directory:
        break;
      case TAR_TYPES.link:
        return { kind: 'link', path, target: splitPath(linkname) };
      case TAR_TYPES.symlink: {
        const own = attributes({ ...member, mode: SYMLINK_MODE }, S_IFLNK, context);
        return { kind: 'symlink', path, attributes: own, target: linkTarget(linkname) };
      }
      case TAR_TYPES.character:
        return special(member, path, S_IFCHR, context);
      case TAR_TYPES.block:
        return special(member, path, S_IFBLK, context);
      case TAR_TYPES.fifo:
        return { kind: 'special', path, attributes: attributes(member, S_IFIFO, context), rdev: 0 };
      default:
        throw new NaiadError('ARCHIVE_UNSUPPORTED', `type "${displayBytes(member.type)}" is none that naiad reads`);
    }
    return { kind: 'directory', path, attributes: attributes(member, S_IFDIR, context) };
  } catch (error) {
    if (!(error instanceof NaiadError)) throw error;
    throw new NaiadError(error.code, `tar member "${displayBytes(name)}" at byte ${member.offset}: ${error.message}`, {
      cause: error.cause,
    });
  }
}

async function fileEntry(
  member: TarMember,
  path: readonly ByteString[],
  body: AsyncIterable<Uint8Array>,
  sparse: ReturnType<typeof paxSparse>,
  context: Context,
): Promise<LayerEntry> {
  const file = { kind: 'file', path, attributes: attributes(member, S_IFREG, context) } as const;
  let map = member.sparse ?? sparse?.map;
  let stored = body;
  if (sparse && !map) {
    const split = await readBodyMap(body, sparse.size, member);
    map = split.map;
    stored = split.rest;
  }
  return map ? { ...file, size: map.size, body: expandSparse(stored, map) } : { ...file, size: member.size, body };
}

function special(member: TarMember, path: readonly ByteString[], type: number, context: Context): LayerEntry {
  const { devmajor, devminor } = member;
  if (devmajor < 0 || devmajor > 0xfff || devminor < 0 || devminor > 0xfffff) {
    throw new NaiadError('ARCHIVE_UNSUPPORTED', `device ${devmajor}:${devminor} is no number of Linux`);
  }
  const rdev = makeDevice(devmajor, devminor);
  return { kind: 'special', path, attributes: attributes(member, type, context), rdev };
}

function linkTarget(target: ByteString): ByteString {
  if (target === '' || target.includes('\0')) {
    throw new NaiadError('ARCHIVE_INVALID', `link target "${displayBytes(target)}" is empty or has a NUL in it`);
  }
  if (target.length > SYMLINK_SIZE_MAX) {
    throw new NaiadError('LIMIT_EXCEEDED', `link target of ${target.length} bytes, at most ${SYMLINK_SIZE_MAX}`);
  }
  return Buffer.from(target, 'latin1').toString('latin1');
}

function attributes(member: TarMember, type: number, context: Context): Attributes {
  const time = paxText(member, 'mtime');
  const mtime = time === undefined ? { sec: member.mtime, nsec: 0 } : parsePaxTime(time);
  if (!mtime) throw new NaiadError('ARCHIVE_INVALID', `pax mtime "${displayBytes(time ?? '')}" is no time`);
  for (const record of member.pax) readXattr(record, context);
  return {
    mode: type | (member.mode & 0o7777),
    uid: owner(member, 'uid'),
    gid: owner(member, 'gid'),
    mtimeSec: mtime.sec,
    mtimeNsec: mtime.nsec,
    xattrs: context.xattrs.take(),
  };
}

/** Linux has symlinks of this mode only; other systems write theirs into archives. */
const SYMLINK_MODE = 0o777;
const ID_MAX = 0xffff_ffff;

function owner(member: TarMember, key: 'uid' | 'gid'): number {
  const text = paxText(member, key);
  const id = text === undefined ? member[key] : (parsePaxNumber(text) ?? -1);
  if (id < 0 || id > ID_MAX) throw new NaiadError('ARCHIVE_INVALID', `${key} ${text ?? id} is out of range`);
  return id;
}

/** The last record of `key`; an empty one gives way to the header. */
function paxText(member: TarMember, key: string): ByteString | undefined {
  const { pax } = member;
  for (let i = pax.length - 1; i >= 0; i--) {
    const record = pax[i] as PaxRecord;
    if (record.key === key) return record.value === '' ? undefined : record.value;
  }
  return undefined;
}

const SCHILY_XATTR = 'SCHILY.xattr.';
const LIBARCHIVE_XATTR = 'LIBARCHIVE.xattr.';

function readXattr({ key, value }: PaxRecord, context: Context): void {
  if (key.startsWith(SCHILY_XATTR)) context.xattrs.add(key.slice(SCHILY_XATTR.length), value);
  // libarchive escapes the name as URLs do, and writes the value in base64; both next to a SCHILY record.
  else if (key.startsWith(LIBARCHIVE_XATTR)) {
    const name = key
      .slice(LIBARCHIVE_XATTR.length)
      .replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
    context.xattrs.add(name, Buffer.from(value, 'base64').toString('latin1'));
  } else if (key.startsWith('SCHILY.acl.') && value !== '') context.onSkipped('an ACL in text form (SCHILY.acl)');
}

function invalid(member: TarMember, what: string): NaiadError {
  return new NaiadError('ARCHIVE_INVALID', `tar member at byte ${member.offset}: ${what}`);
}
