// The built command as its users run it, with cache and state of its own.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MountStatus } from '../../src/mount/mount-api.ts';
import { mountIdOf } from '../../src/mount/mount-record.ts';
import { mountStatus } from '../../src/mount/mounts.ts';
import { runTool, type ToolOptions, type ToolResult } from './run-tool.ts';

export const NAIAD = join('dist', 'cli', 'main.js');

export interface NaiadHome extends AsyncDisposable {
  /** What NAIAD_CACHE and NAIAD_STATE are. */
  readonly cache: string;
  readonly state: string;
  readonly env: NodeJS.ProcessEnv;
  /** Runs `naiad ARGS`. @throws Error with its output when the exit code is not one of `okay` (0). */
  run(args: readonly string[], options?: ToolOptions): Promise<ToolResult>;
  /** `naiad --json ARGS`, parsed. */
  json<T>(args: readonly string[]): Promise<T>;
  /** Mounts; unmounted when disposed. */
  mount(image: string, directory: string, ...options: string[]): Promise<AsyncDisposable>;
  /** What `naiad status` says of the mount on `directory`, without starting it: tests ask often. Undefined while no daemon serves it. */
  find(directory: string): Promise<MountStatus | undefined>;
  /** The same of one that is served. */
  status(directory: string): Promise<MountStatus>;
}

/** For tests of every driver: what their mounts ask for when they do not say. */
export const TEST_DRIVER = process.env.TEST_DRIVER || 'auto';

/** Cache and state below `dir`. Disposing unmounts what was left mounted. */
export function naiadHome(dir: string): NaiadHome {
  const [cache, state] = [join(dir, 'cache'), join(dir, 'state')];
  // A daemon that has nothing to do must not outlive its test by much.
  const env = { ...process.env, NAIAD_CACHE: cache, NAIAD_STATE: state, NAIAD_DAEMON_IDLE: '1' };
  const run = (args: readonly string[], options: ToolOptions = {}) => {
    const [command, ...rest] = args;
    const line = command === 'mount' ? [command, '--driver', TEST_DRIVER, ...rest] : args;
    return runTool(process.execPath, [NAIAD, ...line], { ...options, env: { ...env, ...options.env } });
  };
  const json = async <T>(args: readonly string[]) => JSON.parse((await run(['--json', ...args])).stdout) as T;
  const find = (directory: string) => mountStatus(state, mountIdOf(directory));
  const mounted = new Set<string>();
  const umount = async (directory: string) => {
    if (mounted.delete(directory)) await run(['umount', directory]);
  };
  return {
    ...{ cache, state, env, run, json },
    async mount(image, directory, ...options) {
      await run(['mount', ...options, image, directory]);
      mounted.add(directory);
      return { [Symbol.asyncDispose]: () => umount(directory) };
    },
    find,
    async status(directory) {
      const found = await find(directory);
      if (!found) throw new Error(`nothing is mounted on ${directory}`);
      return found;
    },
    async [Symbol.asyncDispose]() {
      for (const directory of mounted) await umount(directory);
    },
  };
}

/** Starts `naiad ARGS` and leaves it running. */
export function startNaiad(args: readonly string[], env: NodeJS.ProcessEnv) {
  return spawn(process.execPath, [NAIAD, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Mountpoints that the kernel knows at or below `dir`. */
export function mountpointsBelow(dir: string): string[] {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  return lines.map((line) => line.split(' ')[4] ?? '').filter((path) => path === dir || path.startsWith(`${dir}/`));
}
