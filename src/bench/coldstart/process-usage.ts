// What processes took, read from /proc while they live.
import { readdirSync, readFileSync } from 'node:fs';

export interface Usage {
  /** Of all threads and of children that ended. */
  readonly cpuSeconds: number;
  /** Of children that ended alone. */
  readonly childrenSeconds: number;
  /** Largest resident size so far; of several processes the sum. */
  readonly peakBytes: number;
}

/** USER_HZ, which Linux fixes at this for all programs. */
const TICKS_A_SECOND = 100;

/** Processes in whose environment `name` is `value`: whatever was started with it, and their children. */
export function processesWith(name: string, value: string): number[] {
  const wanted = `\0${name}=${value}\0`;
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) => `\0${read(`/proc/${pid}/environ`)}\0`.includes(wanted))
    .map(Number);
}

/** Of the processes that still live. */
export function usageOf(pids: readonly number[]): Usage {
  const each = pids.map(usage);
  return {
    cpuSeconds: each.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0),
    childrenSeconds: each.reduce((sum, { childrenSeconds }) => sum + childrenSeconds, 0),
    peakBytes: each.reduce((sum, { peakBytes }) => sum + peakBytes, 0),
  };
}

function usage(pid: number): Usage {
  // The name in parentheses may hold anything; what follows are numbers from the third field (proc(5)).
  const stat = read(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [user = 0, system = 0, childrenUser = 0, childrenSystem = 0] = fields.slice(11, 15).map(Number);
  const peak = /^VmHWM:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/status`))?.[1];
  return {
    cpuSeconds: (user + system + childrenUser + childrenSystem) / TICKS_A_SECOND,
    childrenSeconds: (childrenUser + childrenSystem) / TICKS_A_SECOND,
    peakBytes: Number(peak ?? 0) * 1024,
  };
}

/** Empty for a process that is gone. */
function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
