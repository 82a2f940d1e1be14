// Memory for numbers by the million that does not grow with them: pages beyond a bound go to a file, and come back when they
// are asked for. What is written to that file is this process's own, and gone with it.
import { closeSync, openSync, readSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { assert } from './assert.ts';
import { systemError } from './system-error.ts';
import { writeFullySync } from './write-fully.ts';

/** Whoever keeps things in pages of a pool. */
export interface PageOwner {
  /** Whether its page `index` was written to since it was taken. */
  changed(index: number): boolean;
  /** Its page `index` is in the file from now on, at `place`; what it has of its memory is not to be written to any more. */
  evicted(index: number, place: number): void;
}

interface Frame {
  owner: PageOwner | undefined;
  index: number;
  /** Where in the file the page was when it was last there; -1 for nowhere yet. */
  place: number;
  buffer: ArrayBuffer;
}

export interface PagePoolOptions {
  /** Bytes of every page. */
  readonly pageSize: number;
  /** Bytes of all pages in memory. */
  readonly sizeMax: number;
  /** Where the file is made, once there are more pages than that. */
  readonly directory: string;
}

/** As many evictions later the memory of a page is used again: until then a view of it shows what it showed. */
const COOLING_PAGES = 4;

export class PagePool implements Disposable {
  readonly pageSize: number;
  /** Pages that went to the file so far, whether or not they had to be written. */
  evictions = 0;
  readonly #directory: string;
  readonly #framesMax: number;
  readonly #frames: Frame[] = [];
  readonly #freeFrames: Frame[] = [];
  readonly #freePlaces: number[] = [];
  readonly #cooling: ArrayBuffer[] = [];
  #places = 0;
  #file: number | undefined;
  #path = '';
  /** Chooses victims; nothing depends on which ones, and no access costs the noting of it. */
  #random = 1;

  constructor({ pageSize, sizeMax, directory }: PagePoolOptions) {
    this.pageSize = pageSize;
    this.#framesMax = Math.floor(sizeMax / pageSize) - COOLING_PAGES;
    assert(this.#framesMax > 0, 'a pool holds more pages than those that cool');
    this.#directory = directory;
  }

  /**
   * Memory for the page `index` of `owner`: zeros, or what is at `place` in the file, which the page keeps for its own. It is
   * the owner's until it is told of the eviction, or releases it.
   * @throws NaiadError NO_SPACE, IO
   */
  take(owner: PageOwner, index: number, place?: number): ArrayBuffer {
    const frame = this.#emptyFrame();
    frame.owner = owner;
    frame.index = index;
    frame.place = place ?? -1;
    if (place === undefined) new Uint8Array(frame.buffer).fill(0);
    else this.#read(frame);
    return frame.buffer;
  }

  /** Takes back all pages of `owner`; `places` are those of its pages that are in the file. */
  release(owner: PageOwner, places: Iterable<number>): void {
    this.#freePlaces.push(...places);
    for (const frame of this.#frames) {
      if (frame.owner !== owner) continue;
      if (frame.place >= 0) this.#freePlaces.push(frame.place);
      frame.owner = undefined;
      this.#freeFrames.push(frame);
    }
  }

  [Symbol.dispose](): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  #emptyFrame(): Frame {
    const free = this.#freeFrames.pop();
    if (free) return free;
    if (this.#frames.length === this.#framesMax) return this.#evict();
    const frame = { owner: undefined, index: 0, place: -1, buffer: new ArrayBuffer(this.pageSize) };
    this.#frames.push(frame);
    return frame;
  }

  #evict(): Frame {
    // xorshift32
    this.#random ^= this.#random << 13;
    this.#random ^= this.#random >>> 17;
    this.#random ^= this.#random << 5;
    const frame = this.#frames[(this.#random >>> 0) % this.#framesMax] as Frame;
    const known = frame.place >= 0;
    if (!known) frame.place = this.#freePlaces.pop() ?? this.#places++;
    if (!known || frame.owner?.changed(frame.index)) this.#write(frame);
    this.evictions++;
    frame.owner?.evicted(frame.index, frame.place);
    this.#cooling.push(frame.buffer);
    const cool = this.#cooling.length > COOLING_PAGES ? this.#cooling.shift() : undefined;
    frame.buffer = cool ?? new ArrayBuffer(this.pageSize);
    return frame;
  }

  #write({ buffer, place }: Frame): void {
    try {
      this.#file ??= this.#open();
      writeFullySync(this.#file, new Uint8Array(buffer), place * this.pageSize);
    } catch (error) {
      throw systemError(
        error,
        `writing to ${this.#path}`,
        'What does not fit memory is kept there while an image is converted.',
      );
    }
  }

  #read({ buffer, place }: Frame): void {
    assert(this.#file !== undefined, 'what was evicted is in the file');
    try {
      let done = 0;
      while (done < this.pageSize) {
        const read = readSync(this.#file, new Uint8Array(buffer, done), { position: place * this.pageSize + done });
        assert(read > 0, 'what was written can be read');
        done += read;
      }
    } catch (error) {
      throw systemError(error, `reading ${this.#path}`);
    }
  }

  /** The file has no name as soon as it is open, so that nothing is left whatever ends this process. */
  #open(): number {
    this.#path = join(this.#directory, 'pages');
    const file = openSync(this.#path, 'wx+', 0o600);
    rmSync(this.#path);
    return file;
  }
}
