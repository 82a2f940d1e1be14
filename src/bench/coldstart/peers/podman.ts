// Starts with podman: pulled into storage of this start alone, and run.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { signalProcess } from '../../../base/child-process.ts';
import { runCommand } from '../../command.ts';
import { observed, type RunningContainer } from '../container.ts';
import { nowMs } from '../link-proxy.ts';
import { processesWith, usageOf } from '../process-usage.ts';
import type { Start } from '../way.ts';
import { MARK, type PeerTools, plainReference } from './peer.ts';

/** podman takes so many processes for itself and raises the limit for containers, for which not every root has the right. */
const PROCESSES_MAX = 32_768;

export async function beginPodman({ stage }: PeerTools, directory: string): Promise<Start> {
  const root = join(directory, 'root');
  mkdirSync(root);
  const run = mkdtempSync(join(tmpdir(), 'naiad-')); // At most 50 characters.
  const env = { ...process.env, [MARK]: directory };
  const place = ['--root', root, '--runroot', run, '--storage-driver', 'overlay'];
  const base = [...place, '--cgroup-manager', 'cgroupfs', '--runtime', stage.runtime];
  const reference = plainReference(stage.original);
  // Its storage is laid out at the first call.
  await runCommand('podman', [...base, 'images'], { signal: stage.signal, env });
  const pids = () => processesWith(MARK, directory);
  let pullSeconds = 0;
  return {
    async launch(networks) {
      const before = childSeconds();
      await runCommand('podman', [...base, 'pull', '--quiet', '--tls-verify=false', reference], {
        ...{ signal: stage.signal, env },
      });
      const pulledAt = nowMs();
      pullSeconds = childSeconds() - before;
      const containers = networks.map((network, index): RunningContainer => {
        const name = `bench-${index}`;
        const pidFile = join(directory, `${name}.pid`);
        const args = ['run', '--rm', '--name', name, '--network', `ns:${network}`, '--pidfile', pidFile];
        const child = spawn('podman', [...base, ...args, ...limits(), reference, ...stage.command], {
          ...{ env, detached: true },
          stdio: ['ignore', 'pipe', 'pipe'],
        });
        return { ...observed(child, () => existsSync(pidFile)), stop: () => kill(base, name, env) };
      });
      return { containers, marks: [['pull', pulledAt]] };
    },
    async usage() {
      const { cpuSeconds, peakBytes } = usageOf(pids());
      return { cpuSeconds: cpuSeconds + pullSeconds, peakBytes };
    },
    async [Symbol.asyncDispose]() {
      const { signal } = new AbortController();
      await runCommand('podman', [...base, 'system', 'reset', '--force'], { signal, env, okay: [0, 1, 125] });
      for (const pid of pids()) signalProcess(pid, 'SIGKILL');
      for (const path of [directory, run]) rmSync(path, { recursive: true, force: true });
    },
  };
}

/** No higher than this process' own: without CAP_SYS_RESOURCE, what podman asks for by default is refused. */
function limits(): string[] {
  const text = readFileSync('/proc/self/limits', 'utf8');
  const hard = (name: string) => Number(new RegExp(`^${name} +\\S+ +(\\d+)`, 'm').exec(text)?.[1] ?? Number.NaN);
  const of = (name: string, value: number) => (Number.isNaN(value) ? [] : [`--ulimit=${name}=${value}:${value}`]);
  return [
    ...of('nofile', hard('Max open files')),
    ...of('nproc', Math.min(PROCESSES_MAX, hard('Max processes') || PROCESSES_MAX)),
  ];
}

async function kill(base: readonly string[], name: string, env: NodeJS.ProcessEnv): Promise<void> {
  const { signal } = new AbortController();
  await runCommand('podman', [...base, 'kill', name], { signal, env, okay: [0, 1, 2, 125] });
}

/** CPU of children of this process that ended. */
function childSeconds(): number {
  return usageOf([process.pid]).childrenSeconds;
}
