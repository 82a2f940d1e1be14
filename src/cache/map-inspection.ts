// A chunk map read for what it says of itself, without an image at hand: for listing and for verifying.
import { closeSync, constants, fdatasyncSync, fstatSync, openSync } from 'node:fs';
import { systemError } from '../base/system-error.ts';
import { writeFullySync } from '../base/write-fully.ts';
import {
  bitmapOffset,
  CHUNK_MAP_MAGIC,
  CHUNK_MAP_VERSION,
  type ChunkMapHeader,
  chunkMapHeader,
  claimsOffset,
} from '../format/cache/chunk-map.ts';
import { viewOf } from '../format/record.ts';
import { tryLock } from '../native/lock.ts';
import { bitmapIn, claimsIn, hasBit, readFullySync } from './chunk-map-file.ts';
import { type Claims, replayBatches } from './claims.ts';

export class MapInspection implements Disposable {
  readonly header: ChunkMapHeader;
  readonly #fd: number;
  readonly #ready: Uint8Array;

  private constructor(fd: number, header: ChunkMapHeader) {
    this.#fd = fd;
    this.header = header;
    this.#ready = bitmapIn(fd, header, 'ready');
  }

  /** A map that is whole and of this version, or why it cannot be read. Nobody removes it until it is disposed of. */
  static open(path: string): MapInspection | { readonly problem: string } {
    let fd: number;
    try {
      fd = openSync(path, constants.O_RDWR | constants.O_NOFOLLOW);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { problem: 'its chunk map is missing' };
      throw systemError(error, path);
    }
    let owned = false;
    try {
      if (tryLock(fd, 'shared') === 'busy') return { problem: 'it is being removed' };
      const found = fstatSync(fd);
      if (found.size < chunkMapHeader.size) return { problem: 'its chunk map is cut short' };
      const bytes = new Uint8Array(chunkMapHeader.size);
      readFullySync(fd, bytes, 0);
      const header = chunkMapHeader.read(viewOf(bytes), 0);
      if (header.magic !== CHUNK_MAP_MAGIC) return { problem: 'its chunk map is none' };
      if (header.version !== CHUNK_MAP_VERSION) return { problem: `its chunk map is of version ${header.version}` };
      if (found.size < claimsOffset(header.chunkCount)) return { problem: 'its chunk map is cut short' };
      owned = true;
      return new MapInspection(fd, header);
    } finally {
      if (!owned) closeSync(fd);
    }
  }

  get readyChunks(): number {
    let count = 0;
    for (const byte of this.#ready) for (let bits = byte; bits !== 0; bits &= bits - 1) count++;
    return count;
  }

  /** As it was when the map was opened. */
  isReady(index: number): boolean {
    return hasBit(this.#ready, index);
  }

  /** What chunks must be; undefined when the claims are torn. */
  claims(): Claims | undefined {
    return replayBatches(claimsIn(this.#fd, this.header.chunkCount));
  }

  /**
   * Makes chunks count as missing, if nobody else has the map open: false when somebody has. A reader that saw a bit may
   * be about to read the bytes, keeps the bit in its memory and would write it back; so no bit is ever taken from under
   * one. `durable` goes first: were we killed after `ready` alone, the next boot would believe the chunk again.
   */
  forget(indices: readonly number[]): boolean {
    if (tryLock(this.#fd, 'exclusive') !== 'locked') {
      tryLock(this.#fd, 'shared');
      return false;
    }
    try {
      for (const bitmap of ['durable', 'suspect', 'ready'] as const) {
        const bits = bitmapIn(this.#fd, this.header, bitmap);
        for (const index of indices) bits[index >>> 3] = (bits[index >>> 3] as number) & ~(1 << (index & 7));
        writeFullySync(this.#fd, bits, bitmapOffset(this.header.chunkCount, bitmap));
        fdatasyncSync(this.#fd);
      }
    } finally {
      tryLock(this.#fd, 'shared');
    }
    return true;
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}
