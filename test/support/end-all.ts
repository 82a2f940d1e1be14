// Ends processes that start one another again: all that name a path in their command lines.
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { startTimeOf } from '../../src/base/process-identity.ts';

/** Looks after which none was there any more, so that one that was just being started is seen. */
const QUIET_LOOKS = 5;
const LOOK_INTERVAL_MS = 20;

/** Kills them until none appears any more. `path` is one of the test's own. */
export async function endAll(path: string): Promise<void> {
  for (let quiet = 0; quiet < QUIET_LOOKS; await sleep(LOOK_INTERVAL_MS)) {
    const pids = processesNaming(path);
    quiet = pids.length === 0 ? quiet + 1 : 0;
    // Stopped first: none of them is to see another one die.
    for (const signal of ['SIGSTOP', 'SIGKILL'] as const) for (const pid of pids) send(pid, signal);
  }
}

function processesNaming(path: string): number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => pid !== process.pid && startTimeOf(pid) && commandLine(pid).includes(path));
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return ''; // It ended.
  }
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
