// Other programs that bring images to containers, as they are installed here, each with storage of its own.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { signalChild } from '../../base/child-process.ts';
import { NaiadError } from '../../base/errors.ts';
import { runCommand } from '../command.ts';
import { observed, type RunningContainer } from './container.ts';
import { nowMs } from './link-proxy.ts';
import { processesWith, usageOf } from './process-usage.ts';
import { findProgram } from './registry.ts';
import type { Stage } from './stage.ts';
import type { Start, Way } from './way.ts';

type PeerName = keyof typeof PEERS;

const PEERS = {
  containerd: { programs: ['containerd', 'ctr'], what: 'containerd: ctr images pull, ctr run', begin: beginContainerd },
  podman: { programs: ['podman'], what: 'podman pull, podman run', begin: beginPodman },
} as const satisfies Record<
  string,
  { programs: readonly string[]; what: string; begin: (stage: Stage, directory: string) => Promise<Start> }
>;

/** Tells the processes of one start from all others. */
const MARK = 'NAIAD_BENCH_START';
const START_WAIT_MS = 20_000;
const END_WAIT_MS = 10_000;

export function peerWay(name: string, stage: Stage): Way | { readonly why: string } {
  const peer = PEERS[name as PeerName];
  if (!peer) return { why: 'there is no such peer' };
  const missing = peer.programs.filter((program) => !findProgram(program));
  if (missing.length > 0) return { why: `${missing.join(' and ')} not on PATH` };
  return {
    ...{ key: name, mode: 'peer', what: peer.what },
    begin: (directory) => peer.begin(stage, directory),
  };
}

/** A containerd for this start alone. */
async function beginContainerd(stage: Stage, directory: string): Promise<Start> {
  const [root, state, socket] = ['root', 'state', 'containerd.sock'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  const config = join(directory, 'config.toml');
  const lines = [
    'version = 2',
    `root = "${root}"`,
    `state = "${state}"`,
    'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
    `[grpc]\naddress = "${socket}"`,
  ];
  writeFileSync(config, `${lines.join('\n')}\n`);
  const env = { ...process.env, [MARK]: directory };
  const daemon = spawn('containerd', ['--config', config], { env, stdio: 'ignore', detached: true });
  const end = Date.now() + START_WAIT_MS;
  while (!existsSync(socket)) {
    if (daemon.exitCode !== null || Date.now() > end) {
      throw new NaiadError('COMMAND_FAILED', 'containerd does not start');
    }
    await sleep(20);
  }
  const ctr = ['--address', socket, '--namespace', 'bench'];
  const reference = plain(stage.original);
  await runCommand('ctr', [...ctr, 'version'], { signal: stage.signal, env });
  const idle = usageOf(processesWith(MARK, directory)).cpuSeconds;
  return {
    async launch(networks) {
      await runCommand('ctr', [...ctr, 'images', 'pull', '--plain-http', reference], { signal: stage.signal, env });
      const pulledAt = nowMs();
      const containers = networks.map((network, index): RunningContainer => {
        const id = `bench-${index}`;
        const args = ['run', '--rm', '--with-ns', `network:${network}`, reference, id, ...stage.command];
        const child = spawn('ctr', [...ctr, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
        return {
          ...observed(child, () => existsSync(join(state, 'io.containerd.runtime.v2.task', 'bench', id, 'init.pid'))),
          stop: () => ctrKill(ctr, id, env),
        };
      });
      return { containers, marks: [['pull', pulledAt]] };
    },
    async usage() {
      const { cpuSeconds, peakBytes } = usageOf(processesWith(MARK, directory));
      return { cpuSeconds: cpuSeconds - idle, peakBytes };
    },
    async [Symbol.asyncDispose]() {
      await stopDaemon(daemon, directory);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function ctrKill(ctr: readonly string[], id: string, env: NodeJS.ProcessEnv): Promise<void> {
  const { signal } = new AbortController();
  const okay = [0, 1]; // It may have ended.
  await runCommand('ctr', [...ctr, 'tasks', 'kill', '--signal', 'SIGKILL', id], { signal, env, okay });
}

/** Ends it and what it left: shims outlive their daemon. */
async function stopDaemon(daemon: ChildProcess, directory: string): Promise<void> {
  signalChild(daemon, 'SIGTERM');
  for (const end = Date.now() + END_WAIT_MS; Date.now() < end && daemon.exitCode === null; ) await sleep(20);
  for (const pid of processesWith(MARK, directory)) process.kill(pid, 'SIGKILL');
}

/** Storage of podman for this start alone. */
async function beginPodman(stage: Stage, directory: string): Promise<Start> {
  const root = join(directory, 'root');
  mkdirSync(root);
  const run = mkdtempSync(join(tmpdir(), 'naiad-')); // At most 50 characters.
  const env = { ...process.env, [MARK]: directory };
  const base = ['--root', root, '--runroot', run, '--storage-driver', 'overlay', '--cgroup-manager', 'cgroupfs'];
  const reference = plain(stage.original);
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
        const child = spawn(
          'podman',
          [...base, ...args, '--cgroups=disabled', '--ulimit=host', reference, ...stage.command],
          {
            ...{ env, detached: true },
            stdio: ['ignore', 'pipe', 'pipe'],
          },
        );
        return { ...observed(child, () => existsSync(pidFile)), stop: () => podmanKill(base, name, env) };
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
      for (const pid of pids()) process.kill(pid, 'SIGKILL');
      for (const path of [directory, run]) rmSync(path, { recursive: true, force: true });
    },
  };
}

async function podmanKill(base: readonly string[], name: string, env: NodeJS.ProcessEnv): Promise<void> {
  const { signal } = new AbortController();
  await runCommand('podman', [...base, 'kill', name], { signal, env, okay: [0, 1, 2, 125] });
}

/** CPU of children of this process that ended. */
function childSeconds(): number {
  const { childrenSeconds } = usageOf([process.pid]);
  return childrenSeconds;
}

/** As these programs write references. */
function plain(reference: string): string {
  return reference.replace(/^docker:\/\//, '');
}
