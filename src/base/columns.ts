// Numbers and bytes by the million, without an object each. They grow page by page: what is there is never copied, a page
// that is not full costs no memory that was not written to, and with a pool a page may be on disk for a while.
import { assert } from './assert.ts';
import type { ByteString } from './bytes.ts';
import { NaiadError } from './errors.ts';
import type { PageOwner, PagePool } from './page-pool.ts';
import { alignUp, KiB, MiB } from './units.ts';

type Numbers = Float64Array | Uint32Array | Uint16Array | Uint8Array;
interface NumbersConstructor<Page> {
  new (buffer: ArrayBuffer): Page;
  readonly BYTES_PER_ELEMENT: number;
}

/** Bytes of a page, of a column or a table. */
export const COLUMN_PAGE_SIZE = 16 * KiB;
/** The first page alone starts small and doubles, for the many columns that never have more. */
const FIRST_SIZE = 64;

/** Pages of one length, seen through one kind of view. The first stays in memory; the others may be a pool's. */
class Pages<View extends ArrayBufferView> implements PageOwner {
  /** Those that are in memory. */
  readonly inMemory: (View | undefined)[];
  /** Those that were written to since they came to memory. */
  readonly written: boolean[] = [true];
  readonly #places: (number | undefined)[] = [];
  readonly #pageSize: number;
  readonly #pool: PagePool | undefined;
  readonly #view: (buffer: ArrayBuffer) => View;

  constructor(pageSize: number, pool: PagePool | undefined, view: (buffer: ArrayBuffer) => View) {
    assert(pool === undefined || pool.pageSize === pageSize, 'a pool has pages of one size');
    this.#pageSize = pageSize;
    this.#pool = pool;
    this.#view = view;
    this.inMemory = [view(new ArrayBuffer(Math.min(FIRST_SIZE, pageSize)))];
  }

  /** The page `index`; undefined when there is none. */
  page(index: number): View | undefined {
    return this.inMemory[index] ?? (index < this.inMemory.length ? this.#bringBack(index) : undefined);
  }

  /** The page `index` to be written to, made when there is none, with room for at least the first `size` bytes. */
  room(index: number, size: number): View {
    const first = this.inMemory[0] as View;
    if (first.byteLength < (index === 0 ? size : this.#pageSize)) this.#growFirst(index === 0 ? size : this.#pageSize);
    while (this.inMemory.length <= index) {
      const made = this.inMemory.length;
      this.inMemory.push(undefined);
      this.written.push(true);
      this.inMemory[made] = this.#view(this.#pool?.take(this, made) ?? new ArrayBuffer(this.#pageSize));
    }
    const view = this.page(index) as View;
    this.written[index] = true;
    return view;
  }

  changed(index: number): boolean {
    return this.written[index] === true;
  }

  evicted(index: number, place: number): void {
    this.inMemory[index] = undefined;
    this.#places[index] = place;
  }

  /** Lets go of all pages; nothing may be asked for any more. */
  release(): void {
    const away = this.#places.filter((place, index): place is number => place !== undefined && !this.inMemory[index]);
    this.#pool?.release(this, away);
    this.inMemory.length = 0;
  }

  #bringBack(index: number): View {
    assert(this.#pool !== undefined, 'only a pool takes pages away');
    const view = this.#view(this.#pool.take(this, index, this.#places[index]));
    this.inMemory[index] = view;
    this.written[index] = false;
    return view;
  }

  #growFirst(size: number): void {
    const first = this.inMemory[0] as View;
    let length = first.byteLength;
    while (length < size) length *= 2;
    const larger = new ArrayBuffer(Math.min(length, this.#pageSize));
    new Uint8Array(larger).set(new Uint8Array(first.buffer, first.byteOffset, first.byteLength));
    this.inMemory[0] = this.#view(larger);
  }
}

/** One property of things that are numbered from 0. Numbers never set are 0. */
export class Column<Page extends Numbers> {
  readonly #pages: Pages<Page>;
  readonly #bits: number;
  readonly #mask: number;
  readonly #width: number;

  /** With a pool the memory is the pool's. */
  constructor(pageOf: NumbersConstructor<Page>, pool?: PagePool) {
    this.#width = pageOf.BYTES_PER_ELEMENT;
    this.#bits = Math.log2(COLUMN_PAGE_SIZE / this.#width);
    this.#mask = 2 ** this.#bits - 1;
    this.#pages = new Pages(COLUMN_PAGE_SIZE, pool, (buffer) => new pageOf(buffer));
  }

  get(index: number): number {
    const page = index >>> this.#bits;
    const numbers = this.#pages.inMemory[page] ?? this.#pages.page(page);
    return numbers?.[index & this.#mask] ?? 0;
  }

  /** Sets the number at `index`, which may be just behind what was set before. */
  set(index: number, value: number): void {
    const page = index >>> this.#bits;
    const at = index & this.#mask;
    const numbers = this.#pages.inMemory[page];
    if (numbers !== undefined && at < numbers.length) {
      numbers[at] = value;
      this.#pages.written[page] = true;
    } else this.#pages.room(page, (at + 1) * this.#width)[at] = value;
  }

  /** Lets go of the memory; the column may not be used any more. */
  release(): void {
    this.#pages.release();
  }
}

/** Rows of `width` 32-bit words each, numbered from 0: several properties of a thing that are mostly asked for together. */
export class Table {
  readonly #pages: Pages<Uint32Array>;
  readonly #width: number;
  readonly #rowsPerPage: number;

  constructor(width: number, pool?: PagePool) {
    this.#width = width;
    this.#rowsPerPage = Math.floor(COLUMN_PAGE_SIZE / 4 / width);
    this.#pages = new Pages(COLUMN_PAGE_SIZE, pool, (buffer) => new Uint32Array(buffer));
  }

  /** A word that was never set is 0. */
  get(row: number, word: number): number {
    const page = Math.floor(row / this.#rowsPerPage);
    const words = this.#pages.inMemory[page] ?? this.#pages.page(page);
    return words?.[(row - page * this.#rowsPerPage) * this.#width + word] ?? 0;
  }

  /** The page that holds `row`, made where there is none, to be written to; the row starts at `startOf` in it. Do not keep it. */
  roomFor(row: number): Uint32Array {
    const page = Math.floor(row / this.#rowsPerPage);
    const end = (row - page * this.#rowsPerPage + 1) * this.#width;
    const words = this.#pages.inMemory[page];
    if (words === undefined || end > words.length) return this.#pages.room(page, end * 4);
    this.#pages.written[page] = true;
    return words;
  }

  /** The page that holds `row`, which was set; the row starts at `startOf` in it. Do not keep it, nor write to it. */
  pageOf(row: number): Uint32Array {
    const page = Math.floor(row / this.#rowsPerPage);
    const words = this.#pages.inMemory[page] ?? this.#pages.page(page);
    assert(words !== undefined, 'the row was set');
    return words;
  }

  /** Where `row` starts in its page. */
  startOf(row: number): number {
    return (row % this.#rowsPerPage) * this.#width;
  }

  /** Bytes of a row that was set, from `word` on; do not keep the view, nor write to it. */
  bytes(row: number, word: number, size: number): Uint8Array {
    const page = Math.floor(row / this.#rowsPerPage);
    const words = this.#pages.page(page);
    assert(words !== undefined, 'the row was set');
    const start = ((row - page * this.#rowsPerPage) * this.#width + word) * 4;
    return new Uint8Array(words.buffer, words.byteOffset + start, size);
  }

  /** The bytes of the first `rows` rows, which were set whole, piece by piece; do not keep a piece, nor write to it. */
  *content(rows: number): Iterable<Uint8Array> {
    for (let row = 0; row < rows; row += this.#rowsPerPage) {
      yield this.bytes(row, 0, Math.min(rows - row, this.#rowsPerPage) * this.#width * 4);
    }
  }
}

/** The longest run of bytes that an arena keeps. */
export const ARENA_RUN_MAX = 1 * MiB;
const ARENA_SIZE_MAX = 2 ** 32;

/** Runs of bytes one behind the other, each in one piece; where one starts is its name. */
export class ByteArena {
  readonly #pages: Pages<Buffer>;
  #end = 0;

  /** With a pool, of pages of ARENA_RUN_MAX, the memory is the pool's. */
  constructor(pool?: PagePool) {
    this.#pages = new Pages(ARENA_RUN_MAX, pool, (buffer) => Buffer.from(buffer));
  }

  /** Room for `size` more bytes, at most ARENA_RUN_MAX. @throws NaiadError LIMIT_EXCEEDED */
  reserve(size: number): number {
    assert(size <= ARENA_RUN_MAX, 'a run fits a page');
    if ((this.#end % ARENA_RUN_MAX) + size > ARENA_RUN_MAX) this.#end = alignUp(this.#end, ARENA_RUN_MAX);
    const at = this.#end;
    if (at + size > ARENA_SIZE_MAX) {
      throw new NaiadError('LIMIT_EXCEEDED', 'names, link targets and attributes of the image have more than 4 GiB');
    }
    this.#pages.room(Math.floor(at / ARENA_RUN_MAX), (at % ARENA_RUN_MAX) + size);
    this.#end = at + size;
    return at;
  }

  /** The bytes at `at`, to be read, or filled right after `reserve`; do not keep the view. */
  view(at: number, size: number): Uint8Array {
    const page = this.page(at);
    return new Uint8Array(page.buffer, page.byteOffset + (at % ARENA_RUN_MAX), size);
  }

  /** The page that holds the run at `at`; it starts at `at % ARENA_RUN_MAX` there. Do not keep it. */
  page(at: number): Buffer {
    const page = this.#pages.page(Math.floor(at / ARENA_RUN_MAX));
    assert(page, 'what is looked for was added');
    return page;
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
