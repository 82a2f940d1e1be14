// What Node leaves to its callers when it starts and ends programs.
import type { ChildProcess } from 'node:child_process';

/**
 * Sends `signal` to a child, and nothing when it could not be started: Node would pass on the process number 0, which
 * means every process of our own group.
 */
export function signalChild(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid !== undefined) child.kill(signal);
}

/** Sends `signal` to a process, which may have ended meanwhile. @throws the system's error, EPERM */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
