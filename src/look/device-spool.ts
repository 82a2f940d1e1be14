// The data of an image in files, one a blob, each chunk fetched once in the order in which it is stored: for whoever reads
// files in another order than that.
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { BlobReader } from '../backend/blob-reader.ts';
import { openDevices } from '../backend/devices.ts';
import { NaiadError } from '../base/errors.ts';
import { systemError } from '../base/system-error.ts';
import { MiB } from '../base/units.ts';
import { writeFully } from '../base/write-fully.ts';
import type { Bootstrap, InodeView } from '../image/bootstrap-reader.ts';
import type { Device } from '../image/device.ts';
import { streamChunks } from './chunk-stream.ts';

export interface SpoolOptions {
  readonly bootstrap: Bootstrap;
  readonly readerOf: (blobId: string) => BlobReader;
  /** Where the files are made; whoever gave it removes it. It takes the uncompressed size of the image. */
  readonly directory: string;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((state: { done: number; total: number }) => void) | undefined;
}

/** Bytes of one piece of a file. */
const PIECE_SIZE = 1 * MiB;

export class DeviceSpool implements AsyncDisposable {
  /** Bytes of distinct chunks. */
  readonly size: number;
  readonly #bootstrap: Bootstrap;
  readonly #files: readonly FileHandle[];

  private constructor(bootstrap: Bootstrap, files: readonly FileHandle[], size: number) {
    this.#bootstrap = bootstrap;
    this.#files = files;
    this.size = size;
  }

  /** Fetches and verifies everything. @throws NaiadError NO_SPACE, IO, and whatever reading the image throws */
  static async fill(options: SpoolOptions): Promise<DeviceSpool> {
    const { bootstrap, readerOf, directory, signal, onProgress } = options;
    const devices = await openDevices(bootstrap, readerOf, signal);
    const wanted = devices.map(({ chunks }) =>
      [...Array(chunks.count).keys()].filter((index) => chunks.present(index)),
    );
    const sizeOf = (index: number, { chunks }: Device) => chunks.uncompressedSize(index);
    const total = devices.reduce(
      (sum, device, at) => (wanted[at] ?? []).reduce((own, index) => own + sizeOf(index, device), sum),
      0,
    );
    const files: FileHandle[] = [];
    const spool = new DeviceSpool(bootstrap, files, total);
    let done = 0;
    try {
      for (const [at, device] of devices.entries()) {
        const file = await open(join(directory, `device-${at}`), 'wx+');
        files.push(file);
        const reader = readerOf(device.blobId);
        for await (const { index, bytes } of streamChunks(device, reader, wanted[at] ?? [], { signal })) {
          await writeFully(file, bytes, device.chunks.uncompressedOffset(index));
          done += bytes.length;
          onProgress?.({ done, total });
        }
      }
      return spool;
    } catch (error) {
      await spool[Symbol.asyncDispose]();
      throw systemError(error, `writing below ${directory}`);
    }
  }

  /** The bytes of a file, in pieces that the caller owns. */
  async *read({ nid, size }: InodeView): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < size; at += PIECE_SIZE) {
      const piece = Buffer.allocUnsafe(Math.min(PIECE_SIZE, size - at));
      let filled = 0;
      for (const { blobIndex, deviceOffset, size: length } of this.#bootstrap.extents(nid, at, piece.length)) {
        const file = this.#files[blobIndex];
        const read = await file?.read(piece, filled, length, deviceOffset);
        if (read?.bytesRead !== length)
          throw new NaiadError('BUG', `${length} bytes of device ${blobIndex} are missing`);
        filled += length;
      }
      yield piece;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#files.map((file) => file.close()));
  }
}
