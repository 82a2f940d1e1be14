// CPU seconds of a conversion by what they were spent on. The kernel counts them per thread; which thread is which is
// found out here. Where there is no /proc (not Linux) only the sum is known.
import { readFileSync } from 'node:fs';
import { readlink } from 'node:fs/promises';
import type { Meter } from './meter.ts';

export interface Usage {
  /** CPU seconds, user and system, of all threads. */
  readonly cpuSeconds: number;
  /** The same by what it went into. */
  readonly shares: Readonly<Record<Share, number>> | undefined;
  /** Bytes: the most memory the process ever had resident. */
  readonly peakMemory: number;
}

/**
 * On the threads of Node's pool `compress`: compressing chunks, `pool`: gunzip, sha256 of layers and blobs, reading and writing
 * files. On the main thread `digest`: digests of chunks and their lookup, `main`: all else. `engine`: garbage collection and
 * compiling JavaScript, on the threads of V8.
 */
export type Share = 'compress' | 'pool' | 'digest' | 'main' | 'engine';

/** CPU seconds of the calling thread, or of the one given; undefined where the kernel does not say. */
function threadSeconds(thread = '/proc/thread-self'): number | undefined {
  try {
    return Number(readFileSync(`${thread}/schedstat`, 'latin1').split(' ')[0]) / 1e9;
  } catch {
    return undefined;
  }
}

/** Threads of Node's pool: libuv's own number when nobody says otherwise. */
export const POOL_SIZE = Number(process.env.UV_THREADPOOL_SIZE) || 4;
/** Reads asked for at once, and how often, to meet every thread of the pool; an idle one answers within a round or two. */
const POOL_PROBES = 64;
const POOL_ROUNDS_MAX = 20;

/** CPU seconds of the threads of Node's pool: each is asked, through the pool, who it is. */
async function poolSeconds(): Promise<number> {
  const threads = new Set<string | undefined>();
  for (let round = 0; round < POOL_ROUNDS_MAX && threads.size < POOL_SIZE; round++) {
    const probes = Array.from({ length: POOL_PROBES }, () => readlink('/proc/thread-self').catch(() => undefined));
    for (const thread of await Promise.all(probes)) threads.add(thread);
  }
  let seconds = 0;
  for (const thread of threads) seconds += (thread && threadSeconds(`/proc/${thread}`)) || 0;
  return seconds;
}

interface Snapshot {
  readonly cpu: number;
  readonly main: number | undefined;
  readonly pool: number;
}

async function snapshot(): Promise<Snapshot> {
  const { user, system } = process.cpuUsage();
  return { cpu: (user + system) / 1e6, main: threadSeconds(), pool: await poolSeconds() };
}

/** Starts counting; the function returned ends it. */
export async function measureUsage(): Promise<(meter: Meter) => Promise<Usage>> {
  const before = await snapshot();
  return async (meter) => {
    const after = await snapshot();
    const cpuSeconds = after.cpu - before.cpu;
    const peakMemory = process.resourceUsage().maxRSS * 1024;
    if (before.main === undefined || after.main === undefined) return { cpuSeconds, shares: undefined, peakMemory };
    const main = after.main - before.main;
    const pool = after.pool - before.pool;
    const compress = meter.ms.compress / 1000;
    // Measured on the clock; a main thread that has to share its core must not look as if it had spent more than it did.
    const digest = Math.min(main, meter.ms.digest / 1000);
    const shares = {
      compress,
      pool: pool - compress,
      digest,
      main: main - digest,
      engine: Math.max(0, cpuSeconds - main - pool),
    };
    return { cpuSeconds, shares, peakMemory };
  };
}
