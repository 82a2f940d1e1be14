// Numbers and bytes by the million, without an object each. Both grow page by page: what is there is never copied, and a
// page that is not full costs no memory that was not written to.
import { assert } from './assert.ts';
import type { ByteString } from './bytes.ts';
import { NaiadError } from './errors.ts';
import { MiB } from './units.ts';

type Numbers = Float64Array | Uint32Array | Uint16Array | Uint8Array;

const PAGE_BITS = 14;
const PAGE_LENGTH = 2 ** PAGE_BITS;
/** The first page alone starts small and doubles, for the many columns that never have more. */
const FIRST_LENGTH = 16;

/** One property of things that are numbered from 0. Numbers never set are 0. */
export class Column<Page extends Numbers> {
  readonly #pageOf: new (
    length: number,
  ) => Page;
  readonly #pages: Page[];

  constructor(pageOf: new (length: number) => Page) {
    this.#pageOf = pageOf;
    this.#pages = [new pageOf(FIRST_LENGTH)];
  }

  get(index: number): number {
    return this.#pages[index >>> PAGE_BITS]?.[index & (PAGE_LENGTH - 1)] ?? 0;
  }

  /** Sets the number at `index`, which may be just behind what was set before. */
  set(index: number, value: number): void {
    const pages = this.#pages;
    const page = index >>> PAGE_BITS;
    const at = index & (PAGE_LENGTH - 1);
    if (page >= pages.length || at >= (pages[page] as Page).length) this.#grow(index);
    (pages[page] as Page)[at] = value;
  }

  #grow(index: number): void {
    const pages = this.#pages;
    const first = pages[0] as Page;
    if (first.length < PAGE_LENGTH) {
      let length = first.length;
      while (length <= index && length < PAGE_LENGTH) length *= 2;
      const larger = new this.#pageOf(length);
      larger.set(first);
      pages[0] = larger;
    }
    while (pages.length <= index >>> PAGE_BITS) pages.push(new this.#pageOf(PAGE_LENGTH));
  }
}

/** The longest run of bytes that an arena keeps. */
export const ARENA_RUN_MAX = 1 * MiB;
const ARENA_FIRST = 1024;
const ARENA_SIZE_MAX = 2 ** 32;

/** Runs of bytes one behind the other, each in one piece; where one starts is its name. */
export class ByteArena {
  readonly #pages: Buffer[] = [Buffer.alloc(ARENA_FIRST)];
  #end = 0;

  /** Room for `size` more bytes, at most ARENA_RUN_MAX. @throws NaiadError LIMIT_EXCEEDED */
  reserve(size: number): number {
    assert(size <= ARENA_RUN_MAX, 'a run fits a page');
    if ((this.#end % ARENA_RUN_MAX) + size > ARENA_RUN_MAX) this.#end = this.#pages.length * ARENA_RUN_MAX;
    const at = this.#end;
    if (at + size > ARENA_SIZE_MAX) {
      throw new NaiadError('LIMIT_EXCEEDED', 'names, link targets and attributes of the image have more than 4 GiB');
    }
    const page = Math.floor(at / ARENA_RUN_MAX);
    const end = at + size - page * ARENA_RUN_MAX;
    if (page === this.#pages.length) this.#pages.push(Buffer.alloc(ARENA_RUN_MAX));
    const first = this.#pages[page] as Buffer;
    if (end > first.length) {
      let length = first.length;
      while (length < end) length *= 2;
      const larger = Buffer.alloc(length);
      larger.set(first);
      this.#pages[page] = larger;
    }
    this.#end = at + size;
    return at;
  }

  /** The bytes at `at`, to be read or filled; do not keep the view across `reserve`. */
  view(at: number, size: number): Uint8Array {
    const page = this.page(at);
    return new Uint8Array(page.buffer, page.byteOffset + (at % ARENA_RUN_MAX), size);
  }

  /** The page that holds the run at `at`; it starts at `at % ARENA_RUN_MAX` there. */
  page(at: number): Buffer {
    return this.#pages[Math.floor(at / ARENA_RUN_MAX)] as Buffer;
  }

  /** Copies `text` in. */
  add(text: ByteString): number {
    const at = this.reserve(text.length);
    this.page(at).write(text, at % ARENA_RUN_MAX, 'latin1');
    return at;
  }

  text(at: number, size: number): ByteString {
    const start = at % ARENA_RUN_MAX;
    return this.page(at).toString('latin1', start, start + size);
  }
}
