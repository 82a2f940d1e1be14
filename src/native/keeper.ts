// The keeper's program: built beside the addon, started as a process of its own.
import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { errnoError } from './errno.ts';
import { nativeProgram } from './load.ts';

const PROBE_TIMEOUT_MS = 5000;

/** Its path. @throws NaiadError ADDON_MISSING, saying where it was looked for and how it is built. */
export function keeperProgram(): string {
  // Another build of it, for sanitizers.
  return process.env.NAIAD_KEEPER || nativeProgram('naiad-keeper');
}

/** File systems, by device number, where it worked: finding out starts a program. */
const fine = new Set<number>();

/**
 * The errno that rules pre-content events of files in `directory` out, as an error; undefined when there is none.
 * @throws NaiadError ADDON_MISSING
 */
export function preContentProblem(directory: string): NodeJS.ErrnoException | undefined {
  const { dev } = statSync(directory);
  if (fine.has(dev)) return undefined;
  const { status, stdout, error } = spawnSync(keeperProgram(), ['--probe', directory], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: PROBE_TIMEOUT_MS,
  });
  if (status === 0) {
    fine.add(dev);
    return undefined;
  }
  return error ?? errnoError(Number(stdout) || 5, 'fanotify', Buffer.from(directory));
}
