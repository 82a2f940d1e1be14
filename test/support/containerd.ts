// containerd with files, socket and nothing else of its own, for tests that compare with it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { signalChild } from '../../src/base/child-process.ts';
import { every, program, type Requirement, root } from './requires.ts';
import { runTool, type ToolOptions, type ToolResult } from './run-tool.ts';
import { until } from './until.ts';

export interface Containerd extends AsyncDisposable {
  /** Runs `ctr ARGS` against it. */
  ctr(args: readonly string[], options?: ToolOptions): Promise<ToolResult>;
}

export function containerd(): Requirement {
  return every(root(), program('containerd'), program('ctr'));
}

export async function startContainerd(): Promise<Containerd> {
  const directory = mkdtempSync(join(tmpdir(), 'naiad-test-containerd-'));
  const socket = join(directory, 'sock');
  const config = join(directory, 'config.toml');
  // The plugin for Kubernetes wants a network; the other snapshotters want tools and devices.
  const without = ['grpc.v1.cri', ...['aufs', 'btrfs', 'devmapper', 'zfs'].map((name) => `snapshotter.v1.${name}`)];
  writeFileSync(
    config,
    [
      'version = 2',
      `root = "${join(directory, 'root')}"`,
      `state = "${join(directory, 'state')}"`,
      `disabled_plugins = ${JSON.stringify(without.map((name) => `io.containerd.${name}`))}`,
      `[grpc]\naddress = "${socket}"`,
    ].join('\n'),
  );
  const child = spawn('containerd', ['-c', config], { stdio: 'ignore' });
  const exited = once(child, 'exit');
  const stop = async () => {
    if (child.exitCode === null) {
      signalChild(child, 'SIGTERM');
      await exited;
    }
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    await until('containerd listens', () => {
      assert.equal(child.exitCode, null, 'containerd ended');
      return existsSync(socket);
    });
  } catch (error) {
    await stop();
    throw error;
  }
  return { ctr: (args, options) => runTool('ctr', ['-a', socket, ...args], options), [Symbol.asyncDispose]: stop };
}
