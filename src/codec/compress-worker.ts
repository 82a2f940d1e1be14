// A thread of the compression pool.
import { parentPort, workerData } from 'node:worker_threads';
import type { CompressorName } from '../format/rafs/algorithms.ts';
import { createCompressorInto } from './codec.ts';
import { compressSlot, type Job, type JobDone, type SlotMemory } from './compress-job.ts';

export interface CompressWorkerData {
  readonly slots: readonly SlotMemory[];
  readonly compressor: CompressorName;
  readonly level: number | undefined;
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
