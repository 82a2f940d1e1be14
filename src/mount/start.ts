// Starting a mount that outlives the command: a detached process serves it, and this one waits until it is ready.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { NaiadError } from '../base/errors.ts';
import { systemError } from '../base/system-error.ts';
import { mountPaths, mountsDir } from '../store/paths.ts';
import type { MountStatus } from './mount-api.ts';
import { mountIdOf, readRecord } from './mount-record.ts';
import { absoluteRequest, type MountRequest } from './serve.ts';
import type { MountOutcome } from './serve-main.ts';
import { stateRoot } from './state-root.ts';
import { decodeError } from './wire-error.ts';

const SERVE_MAIN = fileURLToPath(new URL('./serve-main.js', import.meta.url));

/** Mounts in a process of its own and returns when the mount can be used. @throws the NaiadError of that process. */
export async function startMount(request: MountRequest, signal: AbortSignal): Promise<MountStatus> {
  const absolute = absoluteRequest(request);
  const id = mountIdOf(absolute.mountpoint);
  const { log } = mountPaths(stateRoot(), id);
  const logFd = openLog(log);
  const child = spawn(process.execPath, [SERVE_MAIN, JSON.stringify(absolute)], {
    cwd: '/', // Holding the caller's directory would keep it from being unmounted.
    detached: true,
    stdio: ['ignore', logFd, logFd, 'ipc'],
  });
  closeSync(logFd);
  const onAbort = () => child.kill('SIGTERM');
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    const outcome = await firstOutcome(child);
    if (outcome && 'ready' in outcome) {
      child.unref();
      return outcome.ready;
    }
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    const error = outcome ? decodeError(outcome.error) : died(log);
    if (!readRecord(stateRoot(), id)) rmSync(log, { force: true });
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function firstOutcome(child: ReturnType<typeof spawn>): Promise<MountOutcome | undefined> {
  return new Promise((resolve, reject) => {
    child.once('message', (message) => resolve(message as MountOutcome));
    child.once('disconnect', () => resolve(undefined)); // After all that it said.
    child.once('error', (error) => reject(systemError(error, process.execPath)));
  });
}

function openLog(path: string): number {
  try {
    mkdirSync(mountsDir(stateRoot()), { recursive: true, mode: 0o700 });
    return openSync(path, 'a', 0o600);
  } catch (error) {
    throw systemError(error, path, 'Run as root, or set NAIAD_STATE to a directory you can write.');
  }
}

function died(log: string): NaiadError {
  let said = '';
  try {
    said = readFileSync(log, 'utf8').trim().split('\n').slice(-5).join('\n');
  } catch {
    // It said nothing.
  }
  return new NaiadError('MOUNT_FAILED', `the process that should serve the mount died${said ? `: ${said}` : ''}`);
}
