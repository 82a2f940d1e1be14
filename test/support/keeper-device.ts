// A device as a keeper knows it, made of two plain files: data that is filled when it is asked for, and a map of bits.
import { closeSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { WatchedDevice } from '../../src/keeper/keeper.ts';

export const CHUNK_SIZE = 16 * 1024;
export const CHUNKS = 64;

export interface TestDevice extends WatchedDevice, Disposable {
  readonly path: string;
  /** Writes the chunk, then sets its bit. */
  fill(index: number): void;
  /** Chunks that were filled on demand by this process. */
  readonly filled: number[];
}

export interface TestDeviceOptions {
  readonly directory: string;
  readonly name?: string;
  /** How long a fill takes. */
  readonly delayMs?: number;
  /** The errno for every reader. */
  readonly error?: number;
}

/** Every byte tells its chunk. */
export function chunkBytes(index: number): Buffer {
  return Buffer.alloc(CHUNK_SIZE, `chunk ${index};`);
}

/** Opens or makes `<directory>/<name>.data` and `.map`. */
export function testDevice({ directory, name = 'device', delayMs = 0, error = 0 }: TestDeviceOptions): TestDevice {
  const path = join(directory, `${name}.data`);
  const dataFd = openOrMake(path, CHUNKS * CHUNK_SIZE);
  const mapFd = openOrMake(join(directory, `${name}.map`), CHUNKS / 8);
  const filled: number[] = [];
  const fill = (index: number) => {
    writeSync(dataFd, chunkBytes(index), 0, CHUNK_SIZE, index * CHUNK_SIZE);
    const byte = Buffer.alloc(1);
    readSync(mapFd, byte, 0, 1, index >>> 3);
    byte[0] = (byte[0] as number) | (1 << (index & 7));
    writeSync(mapFd, byte, 0, 1, index >>> 3);
  };
  const onRead = async ({ offset, size }: { offset: number; size: number }) => {
    await sleep(delayMs);
    if (error !== 0) return error;
    for (let at = Math.floor(offset / CHUNK_SIZE); at * CHUNK_SIZE < offset + size; at++) {
      filled.push(at);
      fill(at);
    }
    return 0;
  };
  return {
    ...{ path, name, dataFd, mapFd, bitsOffset: 0, size: CHUNKS * CHUNK_SIZE, filled, fill, onRead },
    starts: BigUint64Array.from({ length: CHUNKS }, (_, index) => BigInt(index * CHUNK_SIZE)),
    complete: async () => {
      await onRead({ offset: 0, size: CHUNKS * CHUNK_SIZE });
    },
    [Symbol.dispose]: () => {
      closeSync(dataFd);
      closeSync(mapFd);
    },
  };
}

function openOrMake(path: string, size: number): number {
  try {
    return openSync(path, 'r+');
  } catch {
    const fd = openSync(path, 'w+');
    ftruncateSync(fd, size);
    return fd;
  }
}
