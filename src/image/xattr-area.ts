// Extended attributes as they lie behind an inode (docs/format/bootstrap.md).
import { assert } from '../base/assert.ts';
import { type ByteString, compareBytes, stringToBytes } from '../base/bytes.ts';
import { type ByteArena, Column } from '../base/columns.ts';
import type { PagePool } from '../base/page-pool.ts';
import { alignUp } from '../base/units.ts';
import { splitXattrName, xattrEntry, xattrHeader } from '../format/erofs/records.ts';
import { viewOf } from '../format/record.ts';
import type { Xattr } from './tree.ts';

/** The bytes behind an inode that has `xattrs`, of which there is at least one. */
function encodeXattrs(xattrs: readonly Xattr[]): Uint8Array {
  const entries = xattrs.map((xattr) => {
    const name = splitXattrName(xattr.name);
    assert(name, `xattr ${xattr.name} has a prefix the format holds`);
    const size = alignUp(xattrEntry.size + name.suffix.length + xattr.value.length, 4);
    return { ...xattr, prefix: name.index, suffix: name.suffix, size };
  });
  entries.sort((a, b) => compareBytes(a.name, b.name));
  const area = new Uint8Array(entries.reduce((sum, { size }) => sum + size, xattrHeader.size));
  const view = viewOf(area);
  xattrHeader.write(view, 0, { nameFilter: 0, sharedCount: 0 });
  let at = xattrHeader.size;
  for (const { prefix, suffix, value, size } of entries) {
    xattrEntry.write(view, at, { nameSize: suffix.length, prefix, valueSize: value.length });
    area.set(stringToBytes(suffix), at + xattrEntry.size);
    area.set(value, at + xattrEntry.size + suffix.length);
    at += size;
  }
  return area;
}

/** Field `xattrCount` of an inode with an area of `size` bytes. */
export function xattrCountOf(size: number): number {
  return size === 0 ? 0 : (size - xattrHeader.size) / 4 + 1;
}

/** Distinct areas that are looked for again: an image has few, on very many files. */
const SHARED_MAX = 4096;
const SHARED_SIZE_MAX = 512;
const NO_AREA = new Uint8Array();

/** Keeps the areas of a tree's nodes, those that recur once. */
export class XattrStore {
  readonly #arena: ByteArena;
  readonly #at: Column<Uint32Array>;
  readonly #size: Column<Uint32Array>;
  readonly #shared = new Map<ByteString, number>();
  #count = 0;

  constructor(arena: ByteArena, pool?: PagePool) {
    this.#arena = arena;
    this.#at = new Column(Uint32Array, pool);
    this.#size = new Column(Uint32Array, pool);
  }

  /** A number for the area of `xattrs`; 0 for none. @throws NaiadError LIMIT_EXCEEDED */
  add(xattrs: readonly Xattr[]): number {
    if (xattrs.length === 0) return 0;
    const area = Buffer.from(encodeXattrs(xattrs).buffer);
    const key = area.length <= SHARED_SIZE_MAX ? area.toString('latin1') : undefined;
    const known = key === undefined ? undefined : this.#shared.get(key);
    if (known !== undefined) return known;
    const id = ++this.#count;
    const at = this.#arena.reserve(area.length);
    this.#arena.view(at, area.length).set(area);
    this.#at.set(id, at);
    this.#size.set(id, area.length);
    if (key !== undefined && this.#shared.size < SHARED_MAX) this.#shared.set(key, id);
    return id;
  }

  /** The bytes behind the inode; empty for 0. */
  area(id: number): Uint8Array {
    return id === 0 ? NO_AREA : this.#arena.view(this.#at.get(id), this.#size.get(id));
  }
}
