// Starts over a mount of naiad: its daemon runs and has nothing, or what a start before has left.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { thisProcess } from '../../base/process-identity.ts';
import { formatTrace } from '../../format/trace/trace.ts';
import { BenchDaemon, type MountAnswer } from './daemon-client.ts';
import { nowMs } from './link-proxy.ts';
import { usageOf } from './process-usage.ts';
import { containersOver, type Stage } from './stage.ts';
import { type TouchedImage, traceUntil } from './touched.ts';
import type { Marks, Mode, Start, Way } from './way.ts';

export interface LazyOptions {
  readonly key: string;
  readonly mode: Mode;
  /** `auto` or a driver's name. */
  readonly driver: string;
  readonly what: string;
  readonly image: string;
  /** The same image, to understand what was touched of it. */
  readonly touched: TouchedImage;
  /** More of the request to mount. */
  readonly request?: Readonly<Record<string, unknown>>;
  /** File that gets the trace of the start. */
  readonly recordTo?: string;
  /** Of a cache that is kept from one start to the next. */
  readonly cache?: string;
}

/** A daemon in the field has run for longer, has mounted other images, and is idle. */
const SETTLE_MS = 500;
const OTHER_MS = 100;

export function lazyWay(stage: Stage, options: LazyOptions): Way {
  return {
    ...{ key: options.key, mode: options.mode, driver: options.driver, what: options.what },
    begin: (directory) => beginLazily(stage, options, directory),
  };
}

async function beginLazily(stage: Stage, options: LazyOptions, directory: string): Promise<Start> {
  const place = { state: join(directory, 'state'), cache: options.cache ?? join(directory, 'cache') };
  const daemon = await BenchDaemon.start(place, stage.signal);
  try {
    await useOnce(daemon, stage, options, directory);
  } catch (error) {
    await daemon[Symbol.asyncDispose]();
    throw error;
  }
  let idle = 0;
  const mounted: MountAnswer[] = [];
  return {
    async launch(networks) {
      idle = usageOf(daemon.pids()).cpuSeconds;
      const beganAt = nowMs();
      const roots = networks.map((_, index) => join(directory, `rootfs-${index}`));
      await Promise.all(
        roots.map(async (mountpoint, index) => {
          mkdirSync(mountpoint);
          const { image, driver, request } = options;
          mounted[index] = await daemon.mount({ image, mountpoint, driver, ...forContainer(), ...request });
        }),
      );
      const marks = marksOf(mounted, beganAt, nowMs());
      return { containers: containersOver(stage, roots, networks, directory), marks };
    },
    async usage() {
      const { cpuSeconds, peakBytes } = usageOf(daemon.pids());
      return { cpuSeconds: cpuSeconds - idle, peakBytes };
    },
    async facts(readyAt) {
      const [first] = mounted;
      if (!first) return {};
      const { id, driver } = first.mount;
      const recorded = await daemon.trace(id);
      if (options.recordTo !== undefined) {
        writeFileSync(options.recordTo, formatTrace(traceUntil(recorded, readyAt)));
      }
      const { stalls, hotBytes } = options.touched.factsOf(recorded, readyAt);
      // What is cached already is not always recorded.
      return { what: driver ?? 'unknown', stalls, ...(options.cache === undefined && { hotBytes }) };
    },
    async [Symbol.asyncDispose]() {
      for (const { mount } of mounted) if (mount) await daemon.unmount(mount.id);
      await daemon[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** As naiad run asks. */
function forContainer() {
  return { readWrite: true, environment: {}, owner: thisProcess() };
}

/** Another image is mounted for a moment, with a cache of its own: the process that pulls for full pulls has pulled before, too. */
async function useOnce(daemon: BenchDaemon, stage: Stage, { driver }: LazyOptions, directory: string): Promise<void> {
  const pause = (ms: number) => sleep(ms, undefined, { signal: stage.signal }).catch(() => undefined); // Then launching is canceled.
  const [mountpoint, cache] = [join(directory, 'other'), join(directory, 'other-cache')];
  mkdirSync(mountpoint);
  const { mount } = await daemon.mount({ image: stage.other, mountpoint, driver, cache, ...forContainer() });
  await pause(OTHER_MS);
  await daemon.unmount(mount.id);
  await pause(SETTLE_MS);
}

/** What the daemon tells of the slowest; without that, everything was mounting. */
function marksOf(mounted: readonly MountAnswer[], beganAt: number, mountedAt: number): Marks {
  const latest = (name: 'resolvedMs' | 'bootstrapMs') =>
    Math.max(...mounted.map(({ times }) => times?.[name] ?? Number.NaN)) + beganAt;
  const told = [
    ['resolve', latest('resolvedMs')],
    ['bootstrap', latest('bootstrapMs')],
  ] as const;
  return [...told.filter(([, at]) => Number.isFinite(at)), ['mount', mountedAt]];
}
