// `naiad bench coldstart`: how long an application of an image takes to be ready, by every way there is to bring the image
// to it, over the same link, in turn, from cold caches.
import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { throwIfAborted, unlessAborted } from '../../base/concurrency.ts';
import { hasCode, NaiadError } from '../../base/errors.ts';
import { KiB } from '../../base/units.ts';
import { version } from '../../base/version.ts';
import { findRuntime } from '../../container/runtime.ts';
import { createSpool } from '../../store/spool.ts';
import { openSource } from '../../transport/open.ts';
import { readConfig, resolveImage } from '../../transport/resolve.ts';
import { runCommand, runNaiad } from '../command.ts';
import { describeHost, type Host, sizeOnDisk } from './host.ts';
import { type LazyOptions, lazyWay } from './lazy-ways.ts';
import type { Link } from './link.ts';
import { checkLink, type LinkCheck } from './link-check.ts';
import { type LinkTraffic, nowMs } from './link-proxy.ts';
import { ContainerNetwork } from './network.ts';
import { measureStart, type StartRecord } from './one-start.ts';
import type { PeerTools } from './peers/peer.ts';
import { missingFor, preparedPeer } from './peers/peers.ts';
import type { PullOrder, PullOutcome, Whiteouts } from './pull-main.ts';
import { fullPullWay, localWay } from './pulled-ways.ts';
import { type BenchRegistry, startBenchRegistry } from './registry.ts';
import type { Stage } from './stage.ts';
import { TouchedImage } from './touched.ts';
import type { Mode, PeerName, Way } from './way.ts';
import { WorkerProcess } from './worker-process.ts';

export interface ColdstartOptions {
  /** Reference of an ordinary image. */
  readonly image: string;
  /** Options of naiad that say how its registry is reached. */
  readonly registryArguments: readonly string[];
  readonly command: readonly string[];
  readonly ready: string;
  readonly link: Link;
  readonly runs: number;
  readonly containers: number;
  readonly modes: readonly Mode[];
  readonly drivers: readonly string[];
  readonly peers: readonly PeerName[];
  readonly dropPageCache: boolean;
  readonly watchMs: number;
  readonly timeoutMs: number;
  /** A round that would not end within so much from the beginning is left out; the first never is. */
  readonly timeLimitMs: number;
  readonly signal: AbortSignal;
  readonly note: (line: string) => void;
}

/** A start with the way it went. */
export interface ColdstartRun extends StartRecord {
  readonly way: string;
  /** From 0. */
  readonly round: number;
}

export interface ColdstartOutcome {
  readonly image: ImageFacts;
  readonly machine: Host;
  readonly measuredLink: LinkCheck;
  readonly registry: string;
  /**
   * Compressed bytes of the chunks that a recorded start touched until it was ready, as the converted or the optimized image
   * stores them, whichever has fewer; undefined when none was recorded.
   */
  readonly hotBytes: number | undefined;
  /** Version of this program. */
  readonly naiad: string;
  readonly ways: readonly Pick<Way, 'key' | 'mode' | 'driver' | 'what'>[];
  /** What was asked for and could not be measured. */
  readonly refused: readonly { readonly key: string; readonly why: string }[];
  readonly runs: readonly ColdstartRun[];
}

export interface ImageFacts {
  readonly reference: string;
  readonly layers: number;
  /** Of all layers in a registry, and of the converted image there. */
  readonly storedSize: number;
  readonly convertedSize: number;
  /** On a disk, unpacked. */
  readonly unpackedSize: number;
  /** Manifest and bootstrap layer of the converted image, which every lazy start needs first. */
  readonly metadataSize: number;
}

const ORIGINAL = 'bench:original';
const CONVERTED = 'bench:lazy';
const OPTIMIZED = 'bench:optimized';
const OTHER = 'bench:other';
const OTHER_SIZE = 100 * KiB;

/** @throws NaiadError PERMISSION, RUNTIME_MISSING, ALREADY_CONVERTED, COMMAND_FAILED, CANCELED, … */
export async function benchColdstart(options: ColdstartOptions): Promise<ColdstartOutcome> {
  if (process.geteuid?.() !== 0) {
    throw new NaiadError('PERMISSION', 'starting containers and dropping caches needs root', {
      hint: 'Run it with sudo.',
    });
  }
  const endsAt = nowMs() + options.timeLimitMs;
  const runtime = findRuntime('auto');
  const { signal, note } = options;
  await using spool = await createSpool(tmpdir());
  const place = (name: string) => join(spool.path, name);
  await using registry = await startBenchRegistry(place('registry'), signal);
  note(`pushing ${options.image} to ${registry.what}`);
  const near = `127.0.0.1:${registry.port}`;
  const { original, lazy, convertedSize } = await putImages(options, near);
  await putOther(place('other'), near, signal);
  await using proxy = new WorkerProcess('link-main.ts', [String(registry.port), options.link.text]);
  const far = `127.0.0.1:${await proxy.ask<number>('port')}`;
  await using puller = new WorkerProcess('pull-main.ts');
  const stage: Stage = {
    ...{ signal, runtime, command: options.command, config: original.config },
    original: `docker://${far}/${ORIGINAL}`,
    converted: `docker://${far}/${CONVERTED}`,
    optimized: `docker://${far}/${OPTIMIZED}`,
    other: `docker://${near}/${OTHER}`,
  };
  note('measuring the link');
  const measuredLink = await unlessAborted(checkLink(`http://${far}`, `/v2/bench/blobs/${original.largest}`), signal);
  const local = await unpackHere(puller, `docker://${near}/${ORIGINAL}`, place('local'));
  const touched = await TouchedImage.open(`docker://${near}/${CONVERTED}`, signal);
  const tools = { stage, puller, ...local, touched, cache: place('warm'), trace: place('start.trace') };
  const { ways, refused } = waysOf(options, tools);
  const networks = await openNetworks(options.containers);
  try {
    const rounds = { ways, refused, networks, registry, proxy, runtime, directory: spool.path };
    await addPeers(options, rounds, { stage, puller, near });
    const hotBytes = await prepareTraced(options, rounds, { ...tools, near });
    const runs = await measureRounds(options, rounds, endsAt);
    return {
      image: {
        reference: options.image,
        layers: original.layers,
        storedSize: original.size,
        convertedSize,
        unpackedSize: await sizeOnDisk(place('local'), signal),
        metadataSize: lazy.metadataSize,
      },
      machine: await describeHost(runtime, signal),
      measuredLink,
      registry: registry.what,
      naiad: version(),
      hotBytes,
      ways: ways
        .filter(({ key }) => runs.some(({ way }) => way === key))
        .map(({ key, mode, driver, what }) => ({ key, mode, driver, what })),
      refused,
      runs,
    };
  } finally {
    for (const network of networks) await network[Symbol.asyncDispose]();
  }
}

/** The image as it is and converted, in the registry `near`. */
async function putImages({ image, registryArguments, signal, note }: ColdstartOptions, near: string) {
  const [from, to] = [`docker://${near}/${ORIGINAL}`, `docker://${near}/${CONVERTED}`];
  await runNaiad(['copy', '--quiet', ...registryArguments, image, from], { signal });
  note('converting it');
  const { targetSize } = JSON.parse(await runNaiad(['--json', 'convert', from, to], { signal })) as {
    targetSize: number;
  };
  return {
    original: await describeImage(from, signal),
    lazy: await describeImage(to, signal),
    convertedSize: targetSize,
  };
}

/** An image of one file, for daemons to have mounted something. */
async function putOther(directory: string, near: string, signal: AbortSignal): Promise<void> {
  mkdirSync(directory);
  writeFileSync(join(directory, 'file'), randomBytes(OTHER_SIZE).toString('hex'));
  await runNaiad(['convert', '--quiet', `dir:${directory}`, `docker://${near}/${OTHER}`], { signal });
}

async function describeImage(reference: string, signal: AbortSignal) {
  await using source = await openSource(reference, { signal });
  const { raw, manifest } = await resolveImage(source, { converted: 'prefer', signal });
  const { config } = await readConfig(source, manifest, signal);
  const layers = [...manifest.layers];
  return {
    config: config.config,
    layers: layers.length,
    size: layers.reduce((sum, { size }) => sum + size, manifest.config.size + raw.bytes.length),
    metadataSize: raw.bytes.length + manifest.config.size + (layers.at(-1)?.size ?? 0),
    largest: layers.toSorted((a, b) => b.size - a.size)[0]?.digest ?? manifest.config.digest,
  };
}

/** Every layer in a directory of its own, for starts from the local disk. */
async function unpackHere(puller: WorkerProcess, reference: string, directory: string) {
  mkdirSync(directory);
  const whiteouts = await puller.ask<Whiteouts>('whiteouts', reference);
  const order: PullOrder = { reference, directory, whiteouts };
  const { layers } = await puller.ask<PullOutcome>('pull', order);
  return { layers, whiteouts };
}

interface Tools {
  readonly stage: Stage;
  readonly puller: WorkerProcess;
  readonly layers: readonly string[];
  readonly whiteouts: Whiteouts;
  readonly touched: TouchedImage;
  /** Where the warm ways keep their caches. */
  readonly cache: string;
  /** The file with the trace of a start. */
  readonly trace: string;
}

function waysOf(
  { modes, drivers }: ColdstartOptions,
  { stage, puller, layers, whiteouts, touched, cache, trace }: Tools,
): Pick<Rounds, 'ways' | 'refused'> {
  mkdirSync(cache);
  const byDriver = (mode: Mode, what: string, more: (driver: string) => Partial<LazyOptions> = () => ({})) =>
    drivers.map((driver) => {
      const key = drivers.length === 1 ? mode : `${mode}/${driver}`;
      return lazyWay(stage, { key, mode, driver, what, image: stage.converted, touched, ...more(driver) });
    });
  const makers: Readonly<Record<Mode, () => Way[]>> = {
    'full-pull': () => [fullPullWay(stage, puller, whiteouts)],
    lazy: () => byDriver('lazy', 'naiad mounts the converted image, nothing cached'),
    trace: () =>
      byDriver('trace', 'lazy, and what a start before has touched is fetched first', () => ({
        request: { prefetchTrace: trace },
      })),
    optimized: () =>
      byDriver('optimized', 'the image that naiad optimize made after the trace of a start', () => ({
        image: stage.optimized,
      })),
    warm: () =>
      byDriver('warm', 'naiad mounts it with what a start before has cached', (driver) => ({
        cache: join(cache, driver),
      })),
    local: () => [localWay(stage, layers)],
  };
  const ways = modes.flatMap((mode) => makers[mode]());
  return { ways, refused: [] };
}

/** Adds the peers that can be measured here; why not is told of the others. */
async function addPeers(
  { peers, note }: ColdstartOptions,
  { ways, refused, directory }: Rounds,
  tools: Pick<PeerTools, 'stage' | 'puller' | 'near'>,
): Promise<void> {
  for (const name of peers) {
    const missing = missingFor(name);
    if (missing !== undefined) {
      refused.push({ key: name, why: missing });
      continue;
    }
    note(`preparing ${name}`);
    try {
      ways.push(await preparedPeer(name, { ...tools, directory: join(directory, name) }));
    } catch (error) {
      if (!hasCode(error, 'COMMAND_FAILED')) throw error;
      refused.push({ key: name, why: error.message });
    }
  }
}

/** A start is recorded, for the limit and for the ways that need a trace, and the image rewritten after it. */
async function prepareTraced(
  options: ColdstartOptions,
  rounds: Rounds,
  { stage, touched, trace, near }: Tools & { readonly near: string },
): Promise<number | undefined> {
  const { modes, drivers, signal, note } = options;
  if (modes.every((mode) => mode === 'full-pull' || mode === 'local')) return undefined;
  note('recording a start');
  const what = 'a start that is recorded';
  const [driver = 'auto'] = drivers;
  // What is there already is recorded as well; where a driver does that only when asked, it is asked.
  const request = { recordTo: `${trace}.whole`, prefetch: 'none' };
  const recorded = { key: 'recording', mode: 'lazy', driver, what, image: stage.converted, touched } as const;
  // One alone: of several at once each touches only what the others have not.
  const alone = { ...rounds, networks: rounds.networks.slice(0, 1) };
  const { hotBytes } = await measureOne(options, alone, lazyWay(stage, { ...recorded, request, recordTo: trace }));
  if (!modes.includes('optimized')) return hotBytes;
  note('optimizing it');
  const [from, to] = [`docker://${near}/${CONVERTED}`, `docker://${near}/${OPTIMIZED}`];
  try {
    const report = await runNaiad(['optimize', '--json', '--quiet', '--trace', trace, from, to], { signal });
    const { hot } = JSON.parse(report) as { hot: { dataSize: number } };
    // Compressed better there: what no start can do without is the less of the two.
    return hotBytes === undefined ? hot.dataSize : Math.min(hotBytes, hot.dataSize);
  } catch (error) {
    if (!hasCode(error, 'COMMAND_FAILED')) throw error;
    const why = error.message.split('\n')[0] ?? '';
    rounds.refused.push(...rounds.ways.flatMap(({ key, mode }) => (mode === 'optimized' ? [{ key, why }] : [])));
  }
  return hotBytes;
}

async function openNetworks(count: number): Promise<ContainerNetwork[]> {
  const networks = Array.from({ length: count }, () => new ContainerNetwork());
  try {
    for (const network of networks) await network.opened();
  } catch (error) {
    for (const network of networks) await network[Symbol.asyncDispose]();
    throw error;
  }
  return networks;
}

interface Rounds {
  /** Grows by peers. */
  readonly ways: Way[];
  /** Grows by peers that do not work here. */
  readonly refused: { key: string; why: string }[];
  readonly networks: readonly ContainerNetwork[];
  readonly registry: BenchRegistry;
  readonly proxy: WorkerProcess;
  readonly runtime: string;
  readonly directory: string;
}

/** Every way once a round, each round beginning with another, so that whatever else the machine does meets them all. */
async function measureRounds(options: ColdstartOptions, rounds: Rounds, endsAt: number): Promise<ColdstartRun[]> {
  const runs: ColdstartRun[] = [];
  const { ways } = rounds;
  for (const way of ways.filter(({ mode }) => mode === 'warm')) {
    options.note(`${way.key}: filling the cache by a start`);
    await measureOne(options, rounds, way);
  }
  let longestMs = 0;
  for (let round = 0; round < options.runs; round++) {
    const beganAt = nowMs();
    if (round > 0 && beganAt + longestMs > endsAt) {
      options.note(`no time for more than ${round} of ${options.runs} rounds`);
      break;
    }
    for (let step = 0; step < ways.length; step++) {
      const way = ways[(round + step) % ways.length] as Way;
      if (rounds.refused.some(({ key }) => key === way.key)) continue;
      const record = await measureOrRefuse(options, rounds, way);
      if (!record) continue;
      options.note(`round ${round + 1} of ${options.runs}: ${way.key} ready after ${record.readySeconds.toFixed(2)} s`);
      runs.push({ way: way.key, round, ...record });
    }
    longestMs = Math.max(longestMs, nowMs() - beganAt);
  }
  return runs;
}

/** Another program that does not work here is no reason to measure nothing. */
async function measureOrRefuse(options: ColdstartOptions, rounds: Rounds, way: Way): Promise<StartRecord | undefined> {
  try {
    return await measureOne(options, rounds, way);
  } catch (error) {
    if (way.mode !== 'peer' || !hasCode(error, 'COMMAND_FAILED')) throw error;
    rounds.refused.push({ key: way.key, why: error.message });
    return undefined;
  }
}

async function measureOne(
  options: ColdstartOptions,
  { networks, registry, proxy, runtime, directory }: Rounds,
  way: Way,
): Promise<StartRecord> {
  const { ready, watchMs, timeoutMs, signal } = options;
  throwIfAborted(signal);
  const own = join(directory, 'start');
  rmSync(own, { recursive: true, force: true });
  mkdirSync(own);
  if (options.dropPageCache) await dropCaches(signal);
  registry.warm();
  // In the field other containers run: the runtime is in memory.
  await runCommand(runtime, ['--version'], { signal });
  await using start = await way.begin(own);
  try {
    const takeTraffic = () => proxy.ask<LinkTraffic>('take');
    return await measureStart(start, { ready, networks, takeTraffic, watchMs, timeoutMs, signal });
  } catch (error) {
    if (!hasCode(error, 'COMMAND_FAILED')) throw error;
    throw new NaiadError('COMMAND_FAILED', `${way.key}: ${error.message}`, { cause: error });
  }
}

async function dropCaches(signal: AbortSignal): Promise<void> {
  await runCommand('sync', [], { signal });
  writeFileSync('/proc/sys/vm/drop_caches', '3');
}
