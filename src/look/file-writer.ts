// Writes the data of many files in the order in which blobs store it: every chunk is fetched once, in few large requests,
// and goes to all places that use it.
import { closeSync, constants, openSync, write, writeSync } from 'node:fs';
import { promisify } from 'node:util';
import type { BlobReader } from '../backend/blob-reader.ts';
import { systemError } from '../base/system-error.ts';
import { KiB } from '../base/units.ts';
import type { Bootstrap, InodeView } from '../image/bootstrap-reader.ts';
import type { Device } from '../image/device.ts';
import { streamChunks } from './chunk-stream.ts';

/** Files are stored one after the other, so the next chunk is nearly always of a file that is open. */
const OPEN_FILES_MAX = 32;
/** What is written faster than a thread could be reached. */
const BLOCKING_WRITE_MAX = 64 * KiB;
const writeAt = promisify(write);

interface Place {
  readonly path: Buffer;
  readonly offset: number;
  /** The file ends there, whatever a chunk holds beyond. */
  readonly size: number;
}

export interface WriteOptions {
  readonly readerOf: (blobId: string) => BlobReader;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((state: { done: number; total: number }) => void) | undefined;
}

export class FileWriter implements Disposable {
  readonly #bootstrap: Bootstrap;
  readonly #devices: readonly Device[];
  /** Per blob: chunk index to the places that hold it. */
  readonly #places: Map<number, Place[]>[];
  readonly #open = new Map<Buffer, number>();

  constructor(bootstrap: Bootstrap, devices: readonly Device[]) {
    this.#bootstrap = bootstrap;
    this.#devices = devices;
    this.#places = devices.map(() => new Map());
  }

  addFile({ nid, size }: InodeView, path: Buffer): void {
    this.#bootstrap.chunkAddresses(nid).forEach(({ blobIndex, chunkIndex }, position) => {
      const place = { path, offset: position * this.#bootstrap.chunkSize, size };
      const known = this.#places[blobIndex]?.get(chunkIndex);
      if (known) known.push(place);
      else this.#places[blobIndex]?.set(chunkIndex, [place]);
    });
  }

  /** Fetches, verifies and writes everything added; returns the bytes of distinct chunks. */
  async run(options: WriteOptions): Promise<number> {
    const total = this.#devices.reduce((sum, device, blobIndex) => {
      for (const index of this.#places[blobIndex]?.keys() ?? []) sum += device.chunks.uncompressedSize(index);
      return sum;
    }, 0);
    let done = 0;
    for (const [blobIndex, device] of this.#devices.entries()) {
      const places = this.#places[blobIndex] ?? new Map<number, Place[]>();
      const indices = [...places.keys()].sort((a, b) => a - b);
      const { signal } = options;
      for await (const { index, bytes } of streamChunks(device, options.readerOf(device.blobId), indices, { signal })) {
        // Chunks of zeros stay holes.
        if (!isZero(bytes)) for (const place of places.get(index) ?? []) await this.#write(place, bytes);
        done += bytes.length;
        options.onProgress?.({ done, total });
      }
    }
    return done;
  }

  [Symbol.dispose](): void {
    for (const file of this.#open.values()) closeSync(file);
    this.#open.clear();
  }

  async #write({ path, offset, size }: Place, bytes: Uint8Array): Promise<void> {
    const length = Math.min(bytes.length, size - offset);
    try {
      const file = this.#fileAt(path);
      for (let done = 0; done < length; ) {
        done +=
          length <= BLOCKING_WRITE_MAX
            ? writeSync(file, bytes, done, length - done, offset + done)
            : (await writeAt(file, bytes, done, length - done, offset + done)).bytesWritten;
      }
    } catch (error) {
      throw systemError(error, `writing ${path.toString()}`);
    }
  }

  #fileAt(path: Buffer): number {
    const known = this.#open.get(path);
    if (known !== undefined) return known;
    const [oldest] = this.#open;
    if (oldest && this.#open.size >= OPEN_FILES_MAX) {
      this.#open.delete(oldest[0]);
      closeSync(oldest[1]);
    }
    const file = openSync(path, constants.O_WRONLY | constants.O_NOFOLLOW);
    this.#open.set(path, file);
    return file;
  }
}

function isZero(bytes: Uint8Array): boolean {
  return bytes[0] === 0 && Buffer.compare(bytes.subarray(1), bytes.subarray(0, -1)) === 0;
}
