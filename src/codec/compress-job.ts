// What the pool and its workers share: slots of memory, each with chunks back to back and a table of their sizes.
import type { CompressInto } from './codec.ts';
import { crcLibrary } from './libraries.ts';

/** Chunks of one slot: enough to fill 1 MiB with files of 1 KiB. */
export const CHUNKS_PER_SLOT_MAX = 1024;

/** Plain data: it is posted to workers as it is. */
export interface SlotMemory {
  /** Chunks, back to back from the start; once compressed, the stored bytes likewise. */
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  /** Bytes of each chunk, as it came. */
  readonly sizes: Uint32Array<SharedArrayBuffer>;
  /** Bytes of each chunk as stored; equal to its size when it is stored raw. */
  readonly storedSizes: Uint32Array<SharedArrayBuffer>;
  /** CRC-32C of each chunk as it came. */
  readonly crcs: Uint32Array<SharedArrayBuffer>;
}

export function allocateSlot(size: number): SlotMemory {
  const table = () => new Uint32Array(new SharedArrayBuffer(CHUNKS_PER_SLOT_MAX * Uint32Array.BYTES_PER_ELEMENT));
  return {
    bytes: new Uint8Array(new SharedArrayBuffer(size)),
    sizes: table(),
    storedSizes: table(),
    crcs: table(),
  };
}

export interface Job {
  readonly slot: number;
  readonly count: number;
}

export interface JobDone {
  readonly slot: number;
  /** Milliseconds of CPU the worker has taken since it started. */
  readonly cpuMs: number;
}

/**
 * Compresses the first `count` chunks of `slot` in place: stored bytes never outgrow their chunk, so they are gathered at
 * the front while the chunks behind are still to be read.
 */
export function compressSlot(slot: SlotMemory, count: number, compress: CompressInto): void {
  const { crc32c } = crcLibrary();
  let from = 0;
  let to = 0;
  for (let i = 0; i < count; i++) {
    const size = slot.sizes[i] as number;
    const chunk = slot.bytes.subarray(from, from + size);
    slot.crcs[i] = crc32c(chunk);
    const stored = compress(chunk);
    if (stored) slot.bytes.set(stored, to);
    else if (to < from) slot.bytes.copyWithin(to, from, from + size);
    const storedSize = stored ? stored.length : size;
    slot.storedSizes[i] = storedSize;
    from += size;
    to += storedSize;
  }
}
