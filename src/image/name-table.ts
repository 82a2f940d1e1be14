// The names of a file tree: which node a name in a directory stands for. One hash table for all directories, because most
// are small, and there are many of them.
import { randomInt } from 'node:crypto';
import type { ByteString } from '../base/bytes.ts';
import { ARENA_RUN_MAX, type ByteArena, Column } from '../base/columns.ts';
import type { PagePool } from '../base/page-pool.ts';

const SLOTS_INITIAL = 64;

/** Names are numbered from 1 and never go away; one whose node is 0 is not in its directory at present. */
export class NameTable {
  readonly #arena: ByteArena;
  readonly #pool: PagePool | undefined;
  /** Where the name is in the arena: its length in one byte, then its bytes. */
  readonly #text: Column<Uint32Array>;
  readonly #directory: Column<Uint32Array>;
  readonly #node: Column<Uint32Array>;
  readonly #next: Column<Uint32Array>;
  /** Open addressing, at most three quarters full; 0 is an empty slot. */
  #slots: Column<Uint32Array>;
  #slotCount = SLOTS_INITIAL;
  #count = 0;
  /** Names come from outside: nobody shall know which ones share a slot. */
  readonly #seed = randomInt(2 ** 32);

  constructor(arena: ByteArena, pool?: PagePool) {
    this.#arena = arena;
    this.#pool = pool;
    this.#text = new Column(Uint32Array, pool);
    this.#directory = new Column(Uint32Array, pool);
    this.#node = new Column(Uint32Array, pool);
    this.#next = new Column(Uint32Array, pool);
    this.#slots = new Column(Uint32Array, pool);
  }

  /** The number of `name` in `directory`; 0 when it was never added. */
  find(directory: number, name: ByteString): number {
    const mask = this.#slotCount - 1;
    for (let slot = this.#hash(directory, name) & mask; ; slot = (slot + 1) & mask) {
      const found = this.#slots.get(slot);
      if (found === 0 || (this.#directory.get(found) === directory && this.#is(found, name))) return found;
    }
  }

  /** Adds a name that `find` did not find. */
  add(directory: number, name: ByteString): number {
    if ((this.#count + 1) * 4 > this.#slotCount * 3) this.#grow();
    const id = ++this.#count;
    const text = this.#arena.reserve(1 + name.length);
    const page = this.#arena.page(text);
    const start = text % ARENA_RUN_MAX;
    page[start] = name.length;
    page.write(name, start + 1, 'latin1');
    this.#text.set(id, text);
    this.#directory.set(id, directory);
    this.#node.set(id, 0);
    this.#next.set(id, 0);
    this.#insert(id, this.#hash(directory, name));
    return id;
  }

  text(id: number): ByteString {
    const at = this.#text.get(id);
    return this.#arena.text(at + 1, this.size(id));
  }

  /** Bytes of the name. */
  size(id: number): number {
    const at = this.#text.get(id);
    return this.#arena.page(at)[at % ARENA_RUN_MAX] as number;
  }

  /** Copies the name to `to`. */
  copy(id: number, to: Uint8Array, toOffset: number): void {
    to.set(this.#arena.view(this.#text.get(id) + 1, this.size(id)), toOffset);
  }

  node(id: number): number {
    return this.#node.get(id);
  }

  setNode(id: number, node: number): void {
    this.#node.set(id, node);
  }

  /** Another name, for lists of them. */
  next(id: number): number {
    return this.#next.get(id);
  }

  setNext(id: number, next: number): void {
    this.#next.set(id, next);
  }

  /** Byte order, as the format sorts names. */
  compare(a: number, b: number): number {
    const aText = this.#text.get(a);
    const bText = this.#text.get(b);
    const aPage = this.#arena.page(aText);
    const bPage = this.#arena.page(bText);
    let aAt = aText % ARENA_RUN_MAX;
    let bAt = bText % ARENA_RUN_MAX;
    const aSize = aPage[aAt++] as number;
    const bSize = bPage[bAt++] as number;
    for (const end = aAt + Math.min(aSize, bSize); aAt < end; aAt++, bAt++) {
      const difference = (aPage[aAt] as number) - (bPage[bAt] as number);
      if (difference !== 0) return difference;
    }
    return aSize - bSize;
  }

  #is(id: number, name: ByteString): boolean {
    const text = this.#text.get(id);
    const page = this.#arena.page(text);
    let at = text % ARENA_RUN_MAX;
    if (page[at] !== name.length) return false;
    for (let i = 0; i < name.length; i++) if (page[++at] !== name.charCodeAt(i)) return false;
    return true;
  }

  /** FNV-1a, with its last bits mixed once more: slots are taken from the low ones. */
  #hash(directory: number, name: ByteString): number {
    let hash = Math.imul(this.#seed ^ directory, FNV_PRIME);
    for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), FNV_PRIME);
    return hash ^ (hash >>> 15);
  }

  #insert(id: number, hash: number): void {
    const mask = this.#slotCount - 1;
    let slot = hash & mask;
    while (this.#slots.get(slot) !== 0) slot = (slot + 1) & mask;
    this.#slots.set(slot, id);
  }

  #grow(): void {
    this.#slots.release();
    this.#slots = new Column(Uint32Array, this.#pool);
    this.#slotCount *= 2;
    for (let id = 1; id <= this.#count; id++) this.#insert(id, this.#hash(this.#directory.get(id), this.text(id)));
  }
}

const FNV_PRIME = 0x0100_0193;
