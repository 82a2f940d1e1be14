// Finds the chunk that has given bytes: digest and size to chunk index. A hash table over typed arrays, because images have
// up to millions of chunks; the digests themselves are where the chunks are described.
import { assert } from '../base/assert.ts';
import { Column } from '../base/columns.ts';
import type { PagePool } from '../base/page-pool.ts';

/** Tells whether the chunk at `index` has this digest and size. */
export type HasContent = (index: number, digest: Uint8Array, size: number) => boolean;

const SLOTS_INITIAL = 1024;

export class ChunkIndex {
  readonly #hasContent: HasContent;
  readonly #digestOf: (index: number) => Uint8Array;
  /** Index + 1 of the chunk in a slot, 0 for an empty slot; open addressing, at most two thirds full. */
  #slots: Column<Uint32Array>;
  #slotCount = SLOTS_INITIAL;
  #count = 0;
  readonly #pool: PagePool | undefined;

  /** `chunks` describes the chunks that are added, by their index. With a pool the memory is the pool's. */
  constructor(
    chunks: { readonly hasContent: HasContent; readonly digest: (index: number) => Uint8Array },
    pool?: PagePool,
  ) {
    this.#pool = pool;
    this.#slots = new Column(Uint32Array, pool);
    this.#hasContent = chunks.hasContent;
    this.#digestOf = chunks.digest;
  }

  /** The index added for this content, or undefined. */
  find(digest: Uint8Array, size: number): number | undefined {
    const mask = this.#slotCount - 1;
    for (let slot = firstSlot(digest) & mask; ; slot = (slot + 1) & mask) {
      const entry = this.#slots.get(slot);
      if (entry === 0) return undefined;
      if (this.#hasContent(entry - 1, digest, size)) return entry - 1;
    }
  }

  /** Adds the chunk `index`, which `find` did not find. */
  add(digest: Uint8Array, index: number): void {
    assert(index < 0xffff_ffff, 'chunk indexes fit a slot');
    if ((this.#count + 1) * 3 > this.#slotCount * 2) this.#grow();
    this.#insert(digest, index);
    this.#count++;
  }

  /** Lets go of the memory; the index may not be used any more. */
  release(): void {
    this.#slots.release();
  }

  #insert(digest: Uint8Array, index: number): void {
    const mask = this.#slotCount - 1;
    let slot = firstSlot(digest) & mask;
    while (this.#slots.get(slot) !== 0) slot = (slot + 1) & mask;
    this.#slots.set(slot, index + 1);
  }

  #grow(): void {
    const [old, oldCount] = [this.#slots, this.#slotCount];
    this.#slots = new Column(Uint32Array, this.#pool);
    this.#slotCount *= 2;
    for (let slot = 0; slot < oldCount; slot++) {
      const entry = old.get(slot);
      if (entry !== 0) this.#insert(this.#digestOf(entry - 1), entry - 1);
    }
    old.release();
  }
}

/** Digests are uniform: their first bytes are as good as any hash of them. */
function firstSlot(digest: Uint8Array): number {
  return (
    (digest[0] as number) | ((digest[1] as number) << 8) | ((digest[2] as number) << 16) | ((digest[3] as number) << 24)
  );
}
