// Starts with containerd: a whole pull, or lazily by stargz-snapshotter. A daemon and storage for each start alone.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { signalChild, signalProcess } from '../../../base/child-process.ts';
import { NaiadError } from '../../../base/errors.ts';
import { runCommand } from '../../command.ts';
import { observed, type RunningContainer } from '../container.ts';
import { nowMs } from '../link-proxy.ts';
import { processesWith, usageOf } from '../process-usage.ts';
import type { Stage } from '../stage.ts';
import type { Start } from '../way.ts';
import { MARK, type PeerTools, plainReference } from './peer.ts';

const START_WAIT_MS = 20_000;
const END_WAIT_MS = 10_000;
const ESTARGZ_TAG = 'estargz';

export async function beginContainerd({ stage }: PeerTools, directory: string): Promise<Start> {
  const containerd = await startContainerd(directory, stage.signal);
  const reference = plainReference(stage.original);
  return beginWith(containerd, stage, directory, {
    ...{ client: 'ctr', reference, run: [] },
    pull: ['images', 'pull', '--plain-http', reference],
  });
}

/** The image as eStargz, beside the other ones. */
export async function prepareStargz({ stage, near, directory }: PeerTools): Promise<void> {
  mkdirSync(directory, { recursive: true });
  const containerd = await startContainerd(directory, stage.signal);
  const [from, to] = [withHost(stage.original, near), estargzOf(stage, near)];
  try {
    const remote = (args: readonly string[]) => containerd.client('ctr-remote', args, stage.signal);
    await remote(['images', 'pull', '--plain-http', from]);
    await remote(['images', 'convert', '--estargz', '--oci', from, to]);
    await remote(['images', 'push', '--plain-http', to]);
  } finally {
    await containerd.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

export async function beginStargz({ stage }: PeerTools, directory: string): Promise<Start> {
  const reference = estargzOf(stage);
  const socket = join(directory, 'stargz.sock');
  const config = join(directory, 'stargz.toml');
  const host = reference.slice(0, reference.indexOf('/'));
  writeFileSync(config, `[[resolver.host."${host}".mirrors]]\nhost = "${host}"\ninsecure = true\n`);
  const args = ['--address', socket, '--root', join(directory, 'stargz'), '--config', config, '--log-level', 'error'];
  const snapshotter = spawn('containerd-stargz-grpc', args, { env: marked(directory), stdio: 'ignore' });
  await untilThere(socket, snapshotter, 'containerd-stargz-grpc').catch((error) => {
    signalChild(snapshotter, 'SIGKILL');
    throw error;
  });
  const plugin = ['[proxy_plugins]', '[proxy_plugins.stargz]', 'type = "snapshot"', `address = "${socket}"`];
  const containerd = await startContainerd(directory, stage.signal, plugin);
  return beginWith(containerd, stage, directory, {
    ...{ client: 'ctr-remote', reference, run: ['--snapshotter', 'stargz'] },
    pull: ['images', 'rpull', '--plain-http', reference],
  });
}

function estargzOf({ original }: Stage, host?: string): string {
  const reference = host === undefined ? plainReference(original) : withHost(original, host);
  return `${reference.slice(0, reference.lastIndexOf(':'))}:${ESTARGZ_TAG}`;
}

function withHost(reference: string, host: string): string {
  const plain = plainReference(reference);
  return host + plain.slice(plain.indexOf('/'));
}

interface Containerd {
  readonly state: string;
  readonly address: readonly string[];
  client(name: string, args: readonly string[], signal: AbortSignal, okay?: readonly number[]): Promise<unknown>;
  /** Ends it and all that it left: shims outlive their daemon. */
  stop(): Promise<void>;
}

async function startContainerd(
  directory: string,
  signal: AbortSignal,
  more: readonly string[] = [],
): Promise<Containerd> {
  const [root, state, socket, config] = ['root', 'state', 'containerd.sock', 'config.toml'].map((name) =>
    join(directory, name),
  ) as [string, string, string, string];
  const lines = [
    'version = 2',
    `root = "${root}"`,
    `state = "${state}"`,
    'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
    `[grpc]\naddress = "${socket}"`,
    ...more,
  ];
  writeFileSync(config, `${lines.join('\n')}\n`);
  const env = marked(directory);
  const daemon = spawn('containerd', ['--config', config], { env, stdio: 'ignore', detached: true });
  const address = ['--address', socket, '--namespace', 'bench'];
  const containerd: Containerd = {
    ...{ state, address },
    client: (name, args, until, okay) =>
      runCommand(name, [...address, ...args], { signal: until, env, ...(okay && { okay }) }),
    async stop() {
      signalChild(daemon, 'SIGTERM');
      for (const end = Date.now() + END_WAIT_MS; Date.now() < end && daemon.exitCode === null; ) await sleep(20);
      for (const pid of processesWith(MARK, directory)) signalProcess(pid, 'SIGTERM');
      for (const end = Date.now() + END_WAIT_MS; Date.now() < end; await sleep(20)) {
        if (processesWith(MARK, directory).length === 0) return;
      }
      for (const pid of processesWith(MARK, directory)) signalProcess(pid, 'SIGKILL');
    },
  };
  try {
    await untilThere(socket, daemon, 'containerd');
    await containerd.client('ctr', ['version'], signal);
    return containerd;
  } catch (error) {
    await containerd.stop();
    throw error;
  }
}

/** How a client of containerd brings an image. */
interface Pulling {
  readonly client: string;
  readonly reference: string;
  readonly pull: readonly string[];
  /** Options of `run`. */
  readonly run: readonly string[];
}

function beginWith(containerd: Containerd, stage: Stage, directory: string, how: Pulling): Start {
  const { signal, command } = stage;
  const { state, address } = containerd;
  const idle = usageOf(processesWith(MARK, directory)).cpuSeconds;
  return {
    async launch(networks) {
      await containerd.client(how.client, how.pull, signal);
      const pulledAt = nowMs();
      const containers = networks.map((network, index): RunningContainer => {
        const id = `bench-${index}`;
        const args = ['run', '--rm', ...how.run, '--with-ns', `network:${network}`, how.reference, id, ...command];
        const child = spawn(how.client, [...address, ...args], {
          ...{ env: marked(directory), detached: true },
          stdio: ['ignore', 'pipe', 'pipe'],
        });
        return {
          ...observed(child, () => existsSync(join(state, 'io.containerd.runtime.v2.task', 'bench', id, 'init.pid'))),
          async stop() {
            const kill = ['tasks', 'kill', '--signal', 'SIGKILL', id];
            await containerd.client('ctr', kill, new AbortController().signal, [0, 1]); // It may have ended.
          },
        };
      });
      return { containers, marks: [['pull', pulledAt]] };
    },
    async usage() {
      const { cpuSeconds, peakBytes } = usageOf(processesWith(MARK, directory));
      return { cpuSeconds: cpuSeconds - idle, peakBytes };
    },
    async [Symbol.asyncDispose]() {
      await containerd.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function marked(directory: string): NodeJS.ProcessEnv {
  return { ...process.env, [MARK]: directory };
}

async function untilThere(socket: string, child: ChildProcess, name: string): Promise<void> {
  child.on('error', () => undefined); // One that cannot be started has no pid.
  for (const end = Date.now() + START_WAIT_MS; !existsSync(socket); await sleep(20)) {
    if (child.exitCode !== null || child.pid === undefined || Date.now() > end) {
      throw new NaiadError('COMMAND_FAILED', `${name} does not start`);
    }
  }
}
