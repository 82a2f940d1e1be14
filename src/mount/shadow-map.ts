// A map in which nothing is ready until it was touched: given to the keeper in place of the cache's, it has every first touch
// of a chunk come here, also of what is cached. For recording.
import { randomBytes } from 'node:crypto';
import { closeSync, ftruncateSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { systemError } from '../base/system-error.ts';
import type { ChunkTable } from '../image/chunk-table.ts';

export class ShadowMap implements Disposable {
  readonly fd: number;
  readonly #chunks: ChunkTable;
  readonly #bits: Uint8Array;

  /** `directory` is on a file system that others can map. */
  constructor(directory: string, chunks: ChunkTable) {
    const path = join(directory, `touched-${randomBytes(6).toString('hex')}`);
    this.#chunks = chunks;
    this.#bits = new Uint8Array(Math.ceil(chunks.count / 8));
    try {
      this.fd = openSync(path, 'wx+', 0o600);
      rmSync(path);
      ftruncateSync(this.fd, Math.max(1, this.#bits.length));
    } catch (error) {
      throw systemError(error, path);
    }
  }

  /** The chunks of a range need not be told of again. Their bytes are there. */
  touched({ offset, size }: { readonly offset: number; readonly size: number }): void {
    const { count } = this.#chunks;
    for (let chunk = this.#chunks.indexAt(offset) ?? count; chunk < count; chunk++) {
      if (this.#chunks.uncompressedOffset(chunk) >= offset + size) return;
      const byte = chunk >>> 3;
      this.#bits[byte] = (this.#bits[byte] as number) | (1 << (chunk & 7));
      writeSync(this.fd, this.#bits, byte, 1, byte);
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}
