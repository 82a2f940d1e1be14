// A thread of the compression pool. It compresses the chunks of a slot in place: stored bytes never outgrow the chunk, so
// they are gathered at the front of the slot while its chunks are read from the back.
import { parentPort, workerData } from 'node:worker_threads';
import { crc32c } from '@node-rs/crc32';
import type { CompressorName } from '../format/rafs/algorithms.ts';
import { type CompressInto, createCompressorInto } from './codec.ts';
import type { Job, JobDone, SlotMemory } from './compress-job.ts';

export interface CompressWorkerData {
  readonly slots: readonly SlotMemory[];
  readonly compressor: CompressorName;
  readonly level: number | undefined;
}

/** Compresses the first `count` chunks of `slot`. */
export function compressSlot(slot: SlotMemory, count: number, compress: CompressInto): void {
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

if (parentPort) {
  const port = parentPort;
  const { slots, compressor, level } = workerData as CompressWorkerData;
  const compress = createCompressorInto(compressor, {
    level,
    sizeMax: Math.max(...slots.map(({ bytes }) => bytes.length)),
  });
  port.on('message', ({ slot, count }: Job) => {
    const start = performance.now();
    compressSlot(slots[slot] as SlotMemory, count, compress);
    port.postMessage({ slot, ms: performance.now() - start } satisfies JobDone);
  });
}
