// A thread of the compression pool.
import { readFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import type { CompressorName } from '../format/rafs/algorithms.ts';
import { createCompressorInto } from './codec.ts';
import { createCollector } from './collect.ts';
import { compressSlot, type Job, type JobDone, type SlotMemory } from './compress-job.ts';

export interface CompressWorkerData {
  readonly slots: readonly SlotMemory[];
  readonly compressor: CompressorName;
  readonly level: number | undefined;
}

/** CPU time of this thread since it started; by the clock where the kernel does not count it. */
function cpuMs(): number {
  try {
    return Number(readFileSync('/proc/thread-self/schedstat', 'latin1').split(' ')[0]) / 1e6;
  } catch {
    return performance.now();
  }
}

if (parentPort) {
  const port = parentPort;
  const { slots, compressor, level } = workerData as CompressWorkerData;
  const compress = createCompressorInto(compressor, {
    level,
    sizeMax: Math.max(...slots.map(({ bytes }) => bytes.length)),
  });
  const handedOut = createCollector();
  port.on('message', ({ slot, count }: Job) => {
    const memory = slots[slot] as SlotMemory;
    compressSlot(memory, count, compress);
    handedOut(memory.bytes.length);
    port.postMessage({ slot, cpuMs: cpuMs() } satisfies JobDone);
  });
}
