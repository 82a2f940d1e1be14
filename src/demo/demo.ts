// The whole story on one machine: an image of this machine's own Node, in a registry behind a slow link, started by a full
// pull, lazily, and lazily again with a warm cache. Every figure is of this one run.
import { mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NaiadError } from '../base/errors.ts';
import { type Machine, thisMachine } from '../base/machine.ts';
import { formatSize } from '../base/units.ts';
import { type RegistryServer, startRegistry } from '../registry-server/start.ts';
import { createSpool } from '../store/spool.ts';
import { pullImage } from './full-pull.ts';
import { buildImage, publishImage } from './image.ts';
import { PrivateNaiad } from './mounts.ts';
import { type Program, planNodeImage } from './node-files.ts';
import { type ProgramTimes, runInTree } from './run-in-tree.ts';

export interface DemoOptions {
  /** Of the link, bytes a second. */
  readonly bandwidth: number;
  readonly latencyMs: number;
  readonly signal: AbortSignal;
  /** Called with a line for each step. */
  readonly onStep: (line: string) => void;
}

/** Of all answers of the registry, in bytes of bodies. */
export interface Traffic {
  readonly bytes: number;
  readonly requests: number;
}

/** Seconds since the start of the measurement. */
export interface FullPullRun extends Traffic {
  readonly downloadedSeconds: number;
  readonly unpackedSeconds: number;
  readonly firstOutputSeconds: number;
  readonly endSeconds: number;
}

/** Seconds since the start of the measurement; traffic until it was unmounted. */
export interface MountedRun extends Traffic {
  readonly driver: string;
  readonly mountedSeconds: number;
  readonly firstOutputSeconds: number;
  readonly endSeconds: number;
  readonly unmountedSeconds: number;
  readonly atMounted: Traffic;
  readonly atEnd: Traffic;
}

export interface DemoReport {
  readonly machine: Machine;
  readonly link: { readonly bytesPerSecond: number; readonly latencyMs: number };
  readonly image: {
    readonly layers: readonly {
      readonly what: string;
      readonly files: number;
      readonly tarSize: number;
      readonly storedSize: number;
    }[];
    readonly files: number;
    readonly tarSize: number;
    /** What a registry holds of the original, and of the converted image. */
    readonly storedSize: number;
    readonly convertedSize: number;
    readonly convertSeconds: number;
  };
  /** What the program printed in each of the three runs. */
  readonly output: string;
  readonly full: FullPullRun;
  readonly lazy: MountedRun;
  readonly warm: MountedRun;
  /** A run's figure as a share of the full pull's. */
  readonly shares: Readonly<Record<'lazy' | 'warm', { readonly seconds: number; readonly bytes: number }>>;
}

const ORIGINAL = 'node:original';
const CONVERTED = 'node:naiad';

/**
 * Runs the demonstration. Whatever happens, nothing of it stays: no mount, process or file.
 * @throws NaiadError what a step throws, as MOUNT_FAILED; CANCELED
 */
export async function runDemo(options: DemoOptions): Promise<DemoReport> {
  const { signal, onStep, bandwidth, latencyMs } = options;
  await using spool = await createSpool(tmpdir());
  const place = (name: string) => join(spool.path, name);
  const plan = await planNodeImage(signal);
  onStep(`building an image of Node ${process.version} as it is installed here`);
  await mkdir(place('layers'));
  const image = await buildImage(plan, place('layers'), signal);

  // Two servers over one directory: only reading is slow.
  const loopback = { root: place('registry'), host: '127.0.0.1', port: 0 };
  await using near = await startRegistry(loopback);
  onStep(`pushing it: ${formatSize(storedSizeOf(image))} in ${image.layers.length} layers`);
  await publishImage(image, `docker://${near.host}/${ORIGINAL}`, signal);
  await rm(place('layers'), { recursive: true });
  await mkdir(place('home'));
  await using naiad = await PrivateNaiad.create(place('home'));
  onStep('converting it: naiad convert');
  const converted = await naiad.json<{ targetSize: number; seconds: number }>(
    ['convert', `docker://${near.host}/${ORIGINAL}`, `docker://${near.host}/${CONVERTED}`],
    signal,
  );

  await using far = await startRegistry({ ...loopback, bandwidth, latencyMs });
  const runs = { far, naiad, program: plan.program, signal };
  onStep('full pull: downloading every layer, unpacking, running');
  const full = await measureFullPull(runs, { tree: place('tree'), spool: place('pulled') });
  onStep('lazy: naiad mount with an empty cache, running');
  const lazy = await measureMounted(runs);
  onStep('warm: naiad mount again with the cache kept, running');
  const warm = await measureMounted(runs);
  const share = (run: MountedRun) => ({
    seconds: run.firstOutputSeconds / full.firstOutputSeconds,
    bytes: run.bytes / full.bytes,
  });
  return {
    machine: thisMachine(),
    link: { bytesPerSecond: bandwidth, latencyMs },
    image: {
      layers: image.layers.map(({ what, files, tarSize, descriptor }) => ({
        what,
        files,
        tarSize,
        storedSize: descriptor.size,
      })),
      files: image.layers.reduce((sum, { files }) => sum + files, 0),
      tarSize: image.layers.reduce((sum, { tarSize }) => sum + tarSize, 0),
      storedSize: storedSizeOf(image),
      convertedSize: converted.targetSize,
      convertSeconds: converted.seconds,
    },
    output: plan.program.output.trimEnd(),
    full,
    lazy,
    warm,
    shares: { lazy: share(lazy), warm: share(warm) },
  };
}

interface Runs {
  readonly far: RegistryServer;
  readonly naiad: PrivateNaiad;
  readonly program: Program;
  readonly signal: AbortSignal;
}

async function measureFullPull(
  { far, program, signal }: Runs,
  { tree, spool }: { readonly tree: string; readonly spool: string },
): Promise<FullPullRun> {
  const watch = stopwatch(far);
  const { downloadedMs, unpackedMs } = await pullImage(`docker://${far.host}/${ORIGINAL}`, {
    directory: tree,
    spool,
    signal,
  });
  const times = await runRight(tree, program, signal);
  return {
    downloadedSeconds: watch.seconds(downloadedMs),
    unpackedSeconds: watch.seconds(unpackedMs),
    firstOutputSeconds: watch.seconds(times.firstOutputMs),
    endSeconds: watch.seconds(times.endMs),
    ...watch.traffic(),
  };
}

async function measureMounted({ far, naiad, program, signal }: Runs): Promise<MountedRun> {
  const watch = stopwatch(far);
  const driver = await naiad.mount(`docker://${far.host}/${CONVERTED}`, signal);
  const mountedSeconds = watch.seconds(performance.now());
  const atMounted = watch.traffic();
  const times = await runRight(naiad.mountpoint, program, signal);
  const atEnd = watch.traffic();
  await naiad.unmount();
  return {
    driver,
    mountedSeconds,
    firstOutputSeconds: watch.seconds(times.firstOutputMs),
    endSeconds: watch.seconds(times.endMs),
    unmountedSeconds: watch.seconds(performance.now()),
    atMounted,
    atEnd,
    ...watch.traffic(),
  };
}

/** Runs the program and checks what it prints. */
async function runRight(tree: string, program: Program, signal: AbortSignal): Promise<ProgramTimes> {
  const { output, ...times } = await runInTree(tree, program, signal);
  if (output === program.output) return times;
  const got = JSON.stringify(output.slice(0, 500));
  throw new NaiadError(
    'COMMAND_FAILED',
    `the program in ${tree} printed ${got}, not ${JSON.stringify(program.output)}`,
  );
}

/** Time and traffic from now on. */
function stopwatch(server: RegistryServer): { seconds(atMs: number): number; traffic(): Traffic } {
  const startMs = performance.now();
  const start = trafficOf(server);
  return {
    seconds: (atMs) => (atMs - startMs) / 1000,
    traffic() {
      const now = trafficOf(server);
      return { bytes: now.bytes - start.bytes, requests: now.requests - start.requests };
    },
  };
}

function trafficOf(server: RegistryServer): Traffic {
  const { bytesSent, requests } = server.stats();
  const sum = (counts: Readonly<Record<string, number>>) => Object.values(counts).reduce((all, one) => all + one, 0);
  return { bytes: sum(bytesSent), requests: sum(requests) };
}

function storedSizeOf({ layers, config, manifest }: Awaited<ReturnType<typeof buildImage>>): number {
  const blobs = [config, ...layers].reduce((sum, { descriptor }) => sum + descriptor.size, 0);
  return blobs + manifest.bytes.length;
}
