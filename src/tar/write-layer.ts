// Entries as a tar stream that any tool reads: ustar, with pax headers for what that cannot say. The other way: read-layer.ts.
import { assert } from '../base/assert.ts';
import type { ByteString } from '../base/bytes.ts';
import { alignUp } from '../base/units.ts';
import { octalField, octalMax, TAR_BLOCK_SIZE, TAR_TYPES, tarHeader, withTarSum } from '../format/tar/header.ts';
import { formatPaxRecords, formatPaxTime, type PaxRecord } from '../format/tar/pax.ts';
import type { LayerEntry } from '../image/layer-entry.ts';
import { type Attributes, deviceMajor, deviceMinor, S_IFBLK, S_IFCHR, S_IFMT } from '../image/tree.ts';

/** A link has those of its target: some tools set them once for each name. */
export type WrittenEntry = LayerEntry & { readonly attributes: Attributes };

/** The same bytes for the same entries, of which none is a socket. */
export async function* writeLayerTar(entries: Iterable<WrittenEntry>): AsyncGenerator<Uint8Array> {
  for (const entry of entries) {
    const { fields, pax } = describe(entry);
    if (pax.length > 0) yield* paxMember(pax);
    yield header(fields);
    if (entry.kind !== 'file') continue;
    let size = 0;
    for await (const piece of entry.body) {
      size += piece.length;
      yield piece;
    }
    assert(size === entry.size, 'a body has as many bytes as its entry says');
    yield paddingOf(size);
  }
  yield new Uint8Array(2 * TAR_BLOCK_SIZE);
}

interface Fields {
  readonly name: ByteString;
  readonly typeflag: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: number;
  readonly linkname: ByteString;
  readonly rdev: number;
}

/** What the header says, and the records for what does not fit into it. */
function describe(entry: WrittenEntry): { readonly fields: Fields; readonly pax: readonly PaxRecord[] } {
  const { mode, uid, gid, mtimeSec, mtimeNsec, xattrs } = entry.attributes;
  const pax: PaxRecord[] = [];
  const text = (key: string, value: ByteString, max: number) => {
    if (value.length <= max && /^[ -~]*$/.test(value)) return value;
    pax.push({ key, value });
    return value.slice(0, max).replace(/[^ -~]/g, '_'); // For who does not know pax.
  };
  const number = (key: string, value: number, size: number) => {
    if (value <= octalMax(size)) return value;
    pax.push({ key, value: String(value) });
    return 0;
  };
  const { fields: sizes } = tarHeader;
  const name = text('path', nameOf(entry), sizes.name.size);
  const linkname = text('linkpath', targetOf(entry), sizes.linkname.size);
  const isPlainTime = mtimeNsec === 0 && mtimeSec >= 0 && mtimeSec <= octalMax(sizes.mtime.size);
  if (!isPlainTime) pax.push({ key: 'mtime', value: formatPaxTime(mtimeSec, mtimeNsec) });
  const fields: Fields = {
    ...{ name, linkname, typeflag: typeOf(entry), mode: mode & 0o7777 },
    uid: number('uid', uid, sizes.uid.size),
    gid: number('gid', gid, sizes.gid.size),
    size: entry.kind === 'file' ? number('size', entry.size, sizes.size.size) : 0,
    mtime: Math.min(Math.max(mtimeSec, 0), octalMax(sizes.mtime.size)),
    rdev: entry.kind === 'special' ? entry.rdev : 0,
  };
  for (const { name: key, value } of xattrs) {
    // A key ends at the first `=`; libarchive's way to name an attribute has none.
    if (key.includes('='))
      pax.push({ key: `LIBARCHIVE.xattr.${escaped(key)}`, value: Buffer.from(value).toString('base64') });
    else pax.push({ key: `SCHILY.xattr.${key}`, value: Buffer.from(value).toString('latin1') });
  }
  return { fields, pax };
}

function escaped(name: ByteString): string {
  return name.replace(/[^A-Za-z0-9._-]/g, (byte) => `%${byte.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

function nameOf({ kind, path }: WrittenEntry): ByteString {
  if (kind !== 'directory') return path.join('/');
  return path.length === 0 ? './' : `${path.join('/')}/`;
}

function targetOf(entry: WrittenEntry): ByteString {
  if (entry.kind === 'link') return entry.target.join('/');
  return entry.kind === 'symlink' ? entry.target : '';
}

function typeOf({ kind, attributes }: WrittenEntry): string {
  if (kind === 'file') return TAR_TYPES.regular;
  if (kind !== 'special') return TAR_TYPES[kind];
  const type = attributes.mode & S_IFMT;
  return type === S_IFCHR ? TAR_TYPES.character : type === S_IFBLK ? TAR_TYPES.block : TAR_TYPES.fifo;
}

function header({ rdev, name, linkname, typeflag, ...numbers }: Fields): Uint8Array {
  const { fields: sizes } = tarHeader;
  const octal = (key: keyof typeof numbers) => octalField(numbers[key], sizes[key].size);
  return withTarSum(
    tarHeader.encode({
      ...{ name, linkname, typeflag: typeflag.charCodeAt(0) },
      ...{ mode: octal('mode'), uid: octal('uid'), gid: octal('gid'), size: octal('size'), mtime: octal('mtime') },
      ...{ checksum: new Uint8Array(sizes.checksum.size), magic: Buffer.from('ustar\x0000', 'latin1') },
      ...{ uname: '', gname: '', prefix: '' },
      devmajor: octalField(deviceMajor(rdev), sizes.devmajor.size),
      devminor: octalField(deviceMinor(rdev), sizes.devminor.size),
    }),
  );
}

function* paxMember(records: readonly PaxRecord[]): Iterable<Uint8Array> {
  const body = formatPaxRecords(records);
  const none = { uid: 0, gid: 0, mtime: 0, linkname: '', rdev: 0 };
  yield header({ ...none, name: 'PaxHeaders/entry', typeflag: TAR_TYPES.pax, mode: 0o644, size: body.length });
  yield body;
  yield paddingOf(body.length);
}

function paddingOf(size: number): Uint8Array {
  return new Uint8Array(alignUp(size, TAR_BLOCK_SIZE) - size);
}
