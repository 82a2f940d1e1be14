// Starts that have the whole image before the application begins: pulled over the link, or there already.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { nowMs } from './link-proxy.ts';
import { usageOf } from './process-usage.ts';
import type { PullOrder, PullOutcome, Whiteouts } from './pull-main.ts';
import { containersOver, overlayRoot, type Root, type Stage } from './stage.ts';
import type { Launched, Start, Way } from './way.ts';
import type { WorkerProcess } from './worker-process.ts';

/** Downloads, verifies and unpacks all layers, as fast as this machine can, then starts. */
export function fullPullWay(stage: Stage, worker: WorkerProcess, whiteouts: Whiteouts): Way {
  return {
    key: 'full-pull',
    mode: 'full-pull',
    what: 'all layers downloaded, verified and unpacked at once while they arrive, then overlayfs',
    async begin(directory) {
      const before = freshUsage(worker.pid);
      return overlayStart(stage, directory, {
        async layers() {
          const target = join(directory, 'layers');
          mkdirSync(target);
          const order: PullOrder = { reference: stage.original, directory: target, whiteouts };
          const { resolvedAt, unpackedAt, layers } = await worker.ask<PullOutcome>('pull', order);
          return {
            layers,
            marks: [
              ['resolve', resolvedAt],
              ['pull', unpackedAt],
            ],
          };
        },
        usage() {
          const { cpuSeconds, peakBytes } = usageOf([worker.pid]);
          return { cpuSeconds: cpuSeconds - before, peakBytes };
        },
      });
    },
  };
}

/** CPU seconds so far; peak memory is counted anew. */
function freshUsage(pid: number): number {
  writeFileSync(`/proc/${pid}/clear_refs`, '5'); // proc(5): resets the peak resident size.
  return usageOf([pid]).cpuSeconds;
}

/** The image unpacked on this machine's disk: what no way of fetching can be faster than. */
export function localWay(stage: Stage, layers: readonly string[]): Way {
  return {
    key: 'local',
    mode: 'local',
    what: 'the image unpacked on the local disk before the start',
    async begin(directory) {
      return overlayStart(stage, directory, {
        layers: async () => ({ layers, marks: [] }),
        usage: () => ({ cpuSeconds: 0, peakBytes: 0 }),
      });
    },
  };
}

interface Layers {
  layers(): Promise<{ readonly layers: readonly string[]; readonly marks: Launched['marks'] }>;
  usage(): { readonly cpuSeconds: number; readonly peakBytes: number };
}

function overlayStart(stage: Stage, directory: string, from: Layers): Start {
  const roots: Root[] = [];
  return {
    async launch(networks) {
      const { layers, marks } = await from.layers();
      for (const index of networks.keys()) roots.push(await overlayRoot(layers, join(directory, `root-${index}`)));
      const mountedAt = nowMs();
      const paths = roots.map(({ path }) => path);
      return {
        containers: containersOver(stage, paths, networks, directory),
        marks: [...marks, ['mount', mountedAt]],
      };
    },
    usage: async () => from.usage(),
    async [Symbol.asyncDispose]() {
      for (const root of roots) await root.unmount();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
