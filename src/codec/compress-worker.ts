// A thread of the compression pool.
import { openSync, readSync } from 'node:fs';
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

/** Tells CPU time of this thread since it started; by the clock where the kernel does not count it. */
function createCpuClock(): () => number {
  let file: number;
  try {
    file = openSync('/proc/thread-self/schedstat', 'r');
  } catch {
    return () => performance.now();
  }
  // Kept open: opening it after every job took a twentieth of the thread's time.
  const line = Buffer.alloc(64);
  return () => Number(line.toString('latin1', 0, readSync(file, line, 0, line.length, 0)).split(' ')[0]) / 1e6;
}

if (parentPort) {
  const port = parentPort;
  const { slots, compressor, level } = workerData as CompressWorkerData;
  const compress = createCompressorInto(compressor, {
    level,
    sizeMax: Math.max(...slots.map(({ bytes }) => bytes.length)),
  });
  const handedOut = createCollector();
  const cpuMs = createCpuClock();
  port.on('message', ({ slot, count }: Job) => {
    const memory = slots[slot] as SlotMemory;
    compressSlot(memory, count, compress);
    handedOut(memory.bytes.length);
    port.postMessage({ slot, cpuMs: cpuMs() } satisfies JobDone);
  });
}
