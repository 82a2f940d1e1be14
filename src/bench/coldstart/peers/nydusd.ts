// Starts of the converted image over nydusd, Nydus' own daemon, in FUSE.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { signalChild } from '../../../base/child-process.ts';
import { NaiadError } from '../../../base/errors.ts';
import { MNT_DETACH, umount } from '../../../native/mount.ts';
import { nowMs } from '../link-proxy.ts';
import { processesWith, usageOf } from '../process-usage.ts';
import type { BootstrapOrder, BootstrapOutcome } from '../pull-main.ts';
import { containersOver, overlayRoot, type Root } from '../stage.ts';
import type { Start } from '../way.ts';
import { MARK, type PeerTools, plainReference } from './peer.ts';

const MOUNT_WAIT_MS = 20_000;

export async function beginNydusd({ stage, puller }: PeerTools, directory: string): Promise<Start> {
  const [mountpoint, cache, bootstrap, config] = ['nydus', 'cache', 'bootstrap', 'config.json'].map((name) =>
    join(directory, name),
  ) as [string, string, string, string];
  for (const path of [mountpoint, cache]) mkdirSync(path);
  writeFileSync(config, JSON.stringify(configOf(plainReference(stage.converted), cache)));
  const roots: Root[] = [];
  let child: ReturnType<typeof spawn> | undefined;
  const before = usageOf([puller.pid]).cpuSeconds;
  return {
    async launch(networks) {
      const order: BootstrapOrder = { reference: stage.converted, path: bootstrap };
      const { resolvedAt, fetchedAt } = await puller.ask<BootstrapOutcome>('bootstrap', order);
      const args = ['--rlimit-nofile', '0', '--log-level', 'error', '--config', config, '--bootstrap', bootstrap];
      child = spawn('nydusd', ['fuse', ...args, '--mountpoint', mountpoint], {
        ...{ stdio: 'ignore', env: { ...process.env, [MARK]: directory } },
      });
      await untilMounted(mountpoint, directory, child);
      for (const index of networks.keys())
        roots.push(await overlayRoot([mountpoint], join(directory, `root-${index}`)));
      const mountedAt = nowMs();
      const paths = roots.map(({ path }) => path);
      return {
        containers: containersOver(stage, paths, networks, directory),
        marks: [
          ['resolve', resolvedAt],
          ['bootstrap', fetchedAt],
          ['mount', mountedAt],
        ],
      };
    },
    async usage() {
      const { cpuSeconds, peakBytes } = usageOf(processesWith(MARK, directory));
      return { cpuSeconds: cpuSeconds + usageOf([puller.pid]).cpuSeconds - before, peakBytes };
    },
    async [Symbol.asyncDispose]() {
      for (const root of roots) await root.unmount();
      if (child) await end(child);
      if (isMounted(mountpoint, directory)) await umount(mountpoint, MNT_DETACH);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** As nydus-snapshotter's own configuration has it. */
function configOf(reference: string, cache: string): object {
  const [host = '', path = ''] = reference.split('/');
  const registry = { scheme: 'http', host, repo: path.split(':')[0], timeout: 5, connect_timeout: 5, retry_limit: 2 };
  return {
    device: {
      backend: { type: 'registry', config: registry },
      cache: { type: 'blobcache', config: { work_dir: cache } },
    },
    ...{ mode: 'direct', digest_validate: false, iostats_files: false, enable_xattr: true },
    fs_prefetch: { enable: true, threads_count: 2, prefetch_all: true },
  };
}

async function untilMounted(mountpoint: string, parent: string, child: ReturnType<typeof spawn>): Promise<void> {
  child.on('error', () => undefined); // One that cannot be started has no pid.
  for (const limit = Date.now() + MOUNT_WAIT_MS; !isMounted(mountpoint, parent); await sleep(1)) {
    if (child.exitCode !== null || child.pid === undefined || Date.now() > limit) {
      throw new NaiadError('COMMAND_FAILED', 'nydusd does not mount the converted image');
    }
  }
}

function isMounted(mountpoint: string, parent: string): boolean {
  return statSync(mountpoint).dev !== statSync(parent).dev;
}

async function end(child: ReturnType<typeof spawn>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const exited = once(child, 'exit');
  signalChild(child, 'SIGKILL');
  await exited;
}
