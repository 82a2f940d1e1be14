// Mode, owners and extended attributes of nodes: an image has few different sets of them, on very many files.
import { Column } from '../base/columns.ts';
import type { PagePool } from '../base/page-pool.ts';
import type { Attributes } from './tree.ts';
import type { XattrStore } from './xattr-area.ts';

/** Sets that are found again when they recur; a set that was pushed out of here is kept twice. */
const RECENT = 4096;

export class OwnerStore {
  readonly #xattrStore: XattrStore;
  readonly #mode: Column<Uint16Array>;
  readonly #uid: Column<Uint32Array>;
  readonly #gid: Column<Uint32Array>;
  readonly #xattrs: Column<Uint32Array>;
  /** By a hash of the set, the last such set; 0 for none. */
  readonly #recent = new Uint32Array(RECENT);
  #count = 0;

  constructor(xattrStore: XattrStore, pool?: PagePool) {
    this.#xattrStore = xattrStore;
    this.#mode = new Column(Uint16Array, pool);
    this.#uid = new Column(Uint32Array, pool);
    this.#gid = new Column(Uint32Array, pool);
    this.#xattrs = new Column(Uint32Array, pool);
  }

  /** The number of a set, never 0. @throws NaiadError LIMIT_EXCEEDED */
  add({ mode, uid, gid, xattrs }: Attributes): number {
    const xattrsId = this.#xattrStore.add(xattrs);
    let hash = mode;
    for (const part of [uid, gid, xattrsId]) hash = Math.imul(hash ^ part, 0x0100_0193);
    const slot = (hash ^ (hash >>> 15)) & (RECENT - 1);
    const recent = this.#recent[slot] as number;
    const recurs =
      recent !== 0 &&
      this.mode(recent) === mode &&
      this.uid(recent) === uid &&
      this.gid(recent) === gid &&
      this.#xattrs.get(recent) === xattrsId;
    if (recurs) return recent;
    const id = ++this.#count;
    this.#mode.set(id, mode);
    this.#uid.set(id, uid);
    this.#gid.set(id, gid);
    this.#xattrs.set(id, xattrsId);
    this.#recent[slot] = id;
    return id;
  }

  mode(id: number): number {
    return this.#mode.get(id);
  }

  uid(id: number): number {
    return this.#uid.get(id);
  }

  gid(id: number): number {
    return this.#gid.get(id);
  }

  /** The bytes behind the inode. */
  xattrArea(id: number): Uint8Array {
    return this.#xattrStore.area(this.#xattrs.get(id));
  }
}
