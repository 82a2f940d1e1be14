// What a daemon did, for Prometheus. Counters of a mount are read where they are kept, when somebody asks; only durations
// are gathered here.
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { MountObserver } from '../mount/image-fs.ts';
import type { MountStatus } from '../mount/mount-api.ts';
import type { Daemon } from './daemon.ts';
import { addFetchMetrics } from './fetch-metrics.ts';
import { addKeeperMetrics } from './keeper-metrics.ts';

/** Seconds: from a chunk in the next rack to the deadline of a read. */
const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

interface MountMetric {
  readonly name: string;
  readonly kind: 'counter' | 'gauge';
  readonly help: string;
  readonly of: (status: MountStatus) => number;
}

const sum = (status: MountStatus, of: (device: MountStatus['devices'][number]) => number): number =>
  status.devices.reduce((total, device) => total + of(device), 0);

/** One sample a mount, labelled with mountpoint, image and driver. */
const MOUNT_METRICS: readonly MountMetric[] = [
  metric('gauge', 'image_bytes', 'Uncompressed bytes of its devices', (one) =>
    sum(one, ({ bytesTotal }) => bytesTotal),
  ),
  metric('gauge', 'cached_bytes', 'Of those, present in the cache', (one) => sum(one, ({ bytes }) => bytes)),
  metric('gauge', 'chunks', 'Chunks of its devices', (one) => sum(one, ({ chunksTotal }) => chunksTotal)),
  metric('gauge', 'cached_chunks', 'Of those, present in the cache', (one) => sum(one, ({ chunks }) => chunks)),
  metric(
    'counter',
    'reads_total',
    'Reads that reached the daemon or its native sessions',
    ({ counters }) => counters.reads,
  ),
  metric('counter', 'read_bytes_total', 'Bytes they gave', ({ counters }) => counters.readBytes),
  metric(
    'counter',
    'cache_hits_total',
    'Reads answered from the cache',
    ({ counters }) => counters.reads - counters.waits,
  ),
  metric('counter', 'stalls_total', 'Reads that waited for a fetch', ({ counters }) => counters.waits),
  metric(
    'counter',
    'stall_seconds_total',
    'How long those reads waited, together',
    ({ counters }) => counters.waitMsSum / 1000,
  ),
  metric('counter', 'read_errors_total', 'Reads that ended in an error', ({ counters }) => counters.errors),
  metric('counter', 'cache_misses_total', 'Chunks that a reader waited for', ({ counters }) => counters.cache.misses),
  metric('counter', 'bad_chunks_total', 'Chunks that arrived wrong', ({ counters }) => counters.cache.badChunks),
  metric(
    'counter',
    'quarantined_chunks_total',
    'Chunks that kept arriving wrong and were left alone',
    ({ counters }) => counters.cache.quarantines,
  ),
  metric(
    'gauge',
    'prefetched_bytes',
    'Of what is being prefetched, here',
    ({ prefetch }) => prefetch?.progress?.bytes ?? 0,
  ),
  metric('counter', 'metadata_bytes_total', 'Fetched before it was ready', ({ metadataBytes }) => metadataBytes),
  metric('counter', 'fetch_requests_total', 'Requests for chunks', ({ counters }) => counters.backend.requests),
  metric('counter', 'fetch_bytes_total', 'Compressed bytes of chunks', ({ counters }) => counters.backend.bytes),
  metric('counter', 'fetch_errors_total', 'Requests that failed', ({ counters }) => counters.backend.errors),
];

function metric(kind: MountMetric['kind'], name: string, help: string, of: MountMetric['of']): MountMetric {
  return { kind, name: `naiad_mount_${name}`, help, of };
}

export class Metrics implements MountObserver {
  readonly #registry = new Registry();
  readonly #stalls: Histogram;
  readonly #fetches: Histogram<'outcome'>;
  readonly #done: (bytes: number) => void;
  #daemon: Daemon | undefined;

  /** `done` is told the bytes of each request once they are used. */
  constructor(version: string, done: (bytes: number) => void = () => undefined) {
    this.#done = done;
    const registers = [this.#registry];
    this.#stalls = new Histogram({
      name: 'naiad_stall_seconds',
      help: 'How long reads waited that were not in the cache',
      buckets: BUCKETS,
      registers,
    });
    this.#fetches = new Histogram({
      name: 'naiad_fetch_seconds',
      help: 'How long requests for chunks took, retries included',
      labelNames: ['outcome'],
      buckets: BUCKETS,
      registers,
    });
    const info = {
      name: 'naiad_build_info',
      help: 'Always 1; the version is a label',
      labelNames: ['version'],
      registers,
    };
    new Gauge(info).set({ version }, 1);
    this.#addMounts(registers);
    addFetchMetrics(registers, () => this.#daemon?.fetchers ?? new Map());
    this.#addCaches(registers);
    this.#addProcess(registers);
    addKeeperMetrics(registers, () => this.#daemon?.keeperFacts());
  }

  stalled(seconds: number): void {
    this.#stalls.observe(seconds);
  }

  fetched(seconds: number, bytes: number | undefined): void {
    this.#fetches.observe({ outcome: bytes === undefined ? 'error' : 'ok' }, seconds);
    this.#done(bytes ?? 0);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** In Prometheus' text format. */
  async text(daemon: Daemon): Promise<string> {
    this.#daemon = daemon;
    return await this.#registry.metrics();
  }

  #addMounts(registers: Registry[]): void {
    const labelNames = ['mountpoint', 'image', 'driver'];
    let statuses: MountStatus[] = [];
    const mounts = new Gauge({
      ...{ name: 'naiad_mounts', help: 'Mounts that can be used', labelNames: ['driver'], registers },
      collect: () => {
        statuses = this.#daemon?.list() ?? []; // Collected first, so the others take what it found.
        mounts.reset();
        for (const { mount } of statuses) mounts.inc({ driver: mount.driver ?? '' });
      },
    });
    for (const { kind, name, help, of } of MOUNT_METRICS) {
      const collect = () => {
        made.reset();
        for (const status of statuses) {
          const { mountpoint, image, driver = '' } = status.mount;
          made.inc({ mountpoint, image, driver }, of(status));
        }
      };
      const options = { name, help, labelNames, registers, collect };
      const made = kind === 'counter' ? new Counter(options) : new Gauge(options);
    }
  }

  #addCaches(registers: Registry[]): void {
    const caches = () => this.#daemon?.caches() ?? [];
    const labelNames = ['cache'];
    const bytes = new Gauge({
      ...{
        name: 'naiad_cache_bytes',
        help: 'Size of a cache directory when it was last looked at',
        labelNames,
        registers,
      },
      collect: () => {
        bytes.reset();
        for (const { path, space } of caches()) bytes.set({ cache: path }, space.counters.bytes);
      },
    });
    const evicted = new Counter({
      ...{ name: 'naiad_cache_evicted_bytes_total', help: 'Removed to make room', labelNames, registers },
      collect: () => {
        evicted.reset();
        for (const { path, space } of caches()) evicted.inc({ cache: path }, space.counters.evictedBytes);
      },
    });
    const full = new Counter({
      ...{ name: 'naiad_cache_full_writes_total', help: 'Writes that found the disk full', labelNames, registers },
      collect: () => {
        full.reset();
        for (const { path, space } of caches()) full.inc({ cache: path }, space.counters.fullWrites);
      },
    });
  }

  #addProcess(registers: Registry[]): void {
    const memory = new Gauge({
      ...{ name: 'process_resident_memory_bytes', help: 'Resident memory of the daemon', registers },
      collect: (): void => memory.set(process.memoryUsage.rss()),
    });
    const cpu = new Counter({
      ...{ name: 'process_cpu_seconds_total', help: 'Processor time of the daemon', registers },
      collect: () => {
        const { user, system } = process.cpuUsage();
        cpu.reset();
        cpu.inc((user + system) / 1e6);
      },
    });
  }
}
