// The chunks of one device that are on disk: bytes in a sparse file, and the map that says which are there. A chunk is written
// before its bit is set, and nobody reads a byte whose bit is not.
import { readSync } from 'node:fs';
import { verifyChunk } from '../backend/chunk-content.ts';
import { hasCode, NaiadError } from '../base/errors.ts';
import { systemError } from '../base/system-error.ts';
import { writeFully } from '../base/write-fully.ts';
import type { Device } from '../image/device.ts';
import { CACHE_HINT, type FilesOf, type OpenedFiles, openCacheFiles } from './cache-files.ts';
import type { ChunkMapFile } from './chunk-map-file.ts';
import type { Space } from './space.ts';

export class StoredChunks implements AsyncDisposable {
  readonly map: ChunkMapFile;
  readonly opened: OpenedFiles;
  readonly #device: Device;
  readonly #space: Space | undefined;

  private constructor(device: Device, opened: OpenedFiles, space: Space | undefined) {
    this.#device = device;
    this.opened = opened;
    this.map = opened.map;
    this.#space = space;
  }

  /** Opens or creates the files. @throws NaiadError NO_SPACE where no room can be made, PERMISSION, IO, CACHE_INVALID */
  static async open(
    device: Device,
    options: { readonly filesOf: FilesOf; readonly bootId: string; readonly space: Space | undefined },
  ): Promise<StoredChunks> {
    const { filesOf, bootId, space } = options;
    const open = async () => new StoredChunks(device, await openCacheFiles(device, filesOf, bootId), space);
    try {
      return await open();
    } catch (error) {
      if (!hasCode(error, 'NO_SPACE') || !(await space?.makeRoom(0))) throw error;
      return await open();
    }
  }

  /** Copies bytes of the device that are there. @throws NaiadError IO, CACHE_INVALID */
  read(buffer: Uint8Array, deviceOffset: number): void {
    const { data, files } = this.opened;
    let done = 0;
    while (done < buffer.length) {
      let count: number;
      try {
        count = readSync(data.fd, buffer, done, buffer.length - done, deviceOffset + done);
      } catch (error) {
        throw systemError(error, `cache file ${files.data}`, CACHE_HINT);
      }
      if (count === 0) throw new NaiadError('CACHE_INVALID', `${files.data} ends at ${deviceOffset + done}`);
      done += count;
    }
  }

  /** Writes a chunk that was verified; it is there afterwards. @throws NaiadError NO_SPACE where no room can be made, IO */
  async publish(index: number, chunk: Uint8Array): Promise<void> {
    try {
      await this.#write(index, chunk);
    } catch (error) {
      if (!hasCode(error, 'NO_SPACE') || !(await this.#space?.makeRoom(chunk.length))) throw error;
      await this.#write(index, chunk);
    }
    this.#space?.wrote(chunk.length);
  }

  async #write(index: number, chunk: Uint8Array): Promise<void> {
    const { data, files } = this.opened;
    try {
      await writeFully(data, chunk, this.#device.chunks.uncompressedOffset(index));
      this.map.add(index); // Last: the bit promises that the bytes are there.
    } catch (error) {
      throw systemError(error, `cache file ${files.data}`, CACHE_HINT);
    }
  }

  /** True when a chunk written before a reboot still has its digest; it is there then. */
  async reverify(index: number): Promise<boolean> {
    const { chunks: table } = this.#device;
    const chunk = new Uint8Array(table.uncompressedSize(index));
    let done = 0;
    while (done < chunk.length) {
      const position = table.uncompressedOffset(index) + done;
      const { bytesRead } = await this.opened.data.read(chunk, done, chunk.length - done, position);
      if (bytesRead === 0) return false;
      done += bytesRead;
    }
    try {
      verifyChunk(this.#device, index, chunk);
    } catch (error) {
      if (hasCode(error, 'CHUNK_DIGEST_MISMATCH')) return false;
      throw error;
    }
    this.map.add(index);
    return true;
  }

  /** Chunks and uncompressed bytes that are there. Walks the whole map. */
  coverage(): { chunks: number; bytes: number; chunksTotal: number; bytesTotal: number } {
    const { chunks: table } = this.#device;
    let [chunks, bytes] = [0, 0];
    if (table.count > 0) this.map.refresh(0, table.count - 1);
    this.map.forEach((index) => {
      chunks++;
      bytes += table.uncompressedSize(index);
    });
    return { chunks, bytes, chunksTotal: table.count, bytesTotal: table.uncompressedTotal };
  }

  /** Brings what is there to disk, so that it is trusted after a reboot, and closes the files. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { data } = this.opened;
    try {
      await this.map.makeDurable(() => data.datasync());
      this.map.touch();
    } finally {
      this.map[Symbol.dispose]();
      await data.close();
    }
  }
}
