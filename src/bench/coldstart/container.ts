// Containers of a benchmark, started by the runtime itself over a root that is mounted already: the same for every mode, so
// that only the way to that root differs.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { containerConfig } from '../../container/container-config.ts';
import { isPlainRoot, resolveUser } from '../../container/container-user.ts';
import { deleteContainer } from '../../container/runtime.ts';
import type { RuntimeConfig } from '../../format/oci/manifest.ts';
import { nowMs } from './link-proxy.ts';

export interface RunningContainer {
  /** What it prints; both streams. */
  readonly child: ChildProcess;
  /** Exit code, 128 and more for signals. */
  readonly exited: Promise<number>;
  /** When its first process was made, in milliseconds since the epoch; undefined when it never was. */
  readonly created: Promise<number | undefined>;
  stop(): Promise<void>;
}

export interface StartContainer {
  readonly runtime: string;
  readonly id: string;
  /** For the bundle; does not exist. */
  readonly directory: string;
  readonly rootfs: string;
  readonly config: RuntimeConfig;
  /** Instead of the image's own. */
  readonly command: readonly string[];
  /** Of the network namespace. */
  readonly network: string;
}

const POLL_MS = 1;

/** Starts it in the background; `stop` it however it went. @throws the system's error when its bundle cannot be written */
export function startContainer(options: StartContainer): RunningContainer {
  const { runtime, id, directory } = options;
  mkdirSync(directory);
  writeFileSync(join(directory, 'config.json'), JSON.stringify(bundleConfig(options)));
  const root = join(directory, 'runtime');
  const pidFile = join(directory, 'pid');
  const child = spawn(runtime, ['--root', root, 'run', '--bundle', directory, '--pid-file', pidFile, id], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  return {
    ...observed(child, () => existsSync(pidFile)),
    async stop() {
      await deleteContainer(runtime, root, id);
    },
  };
}

/** Watches a process that runs a container in the foreground. */
export function observed(child: ChildProcess, isCreated: () => boolean): Omit<RunningContainer, 'stop'> {
  let ended = false;
  const exited = new Promise<number>((resolve) => {
    child.once('error', () => resolve(127));
    child.once('close', (code, signal) => resolve(code ?? (signal ? 128 : 1)));
  }).finally(() => {
    ended = true;
  });
  const created = (async () => {
    while (!isCreated()) {
      if (ended) return undefined;
      await sleep(POLL_MS);
    }
    return nowMs();
  })();
  return { child, exited, created };
}

function bundleConfig({ rootfs, config, command, network, id }: StartContainer): object {
  const wanted = config.User ?? '';
  const file = (path: string) => (isPlainRoot(wanted) ? undefined : textOf(join(rootfs, path)));
  return containerConfig({
    ...{ config, command, rootfs, env: [], volumes: [], readOnly: false, tty: false },
    user: resolveUser(wanted, { passwd: file('etc/passwd'), group: file('etc/group') }),
    net: { path: network },
    hostname: id.slice(0, 12),
  });
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined; // The image has none.
  }
}
