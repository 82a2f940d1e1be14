// What was asked of each registry, for all mounts together: by who asked for it, and what went wrong on the way.
import { Counter, Gauge, type Registry } from 'prom-client';
import { type KindCounters, PRIORITIES } from '../backend/fetch-counters.ts';
import type { FetchScheduler } from '../backend/fetch-scheduler.ts';

/** Fetchers by registry; undefined stands for blobs on this machine. */
export type Fetchers = ReadonlyMap<string | undefined, FetchScheduler>;

interface KindMetric {
  readonly name: string;
  readonly help: string;
  readonly of: (counters: KindCounters) => number;
}

/** One sample a registry and kind: `demand` is a reader that waits, `hot` will be read soon, `background` perhaps. */
const KIND_METRICS: readonly KindMetric[] = [
  { name: 'requests', help: 'Ranged requests that were sent', of: ({ requests }) => requests },
  { name: 'bytes', help: 'Bytes that arrived, as stored', of: ({ bytes }) => bytes },
  { name: 'units', help: 'Chunks or batches that were brought or given up', of: ({ units }) => units },
  { name: 'unit_errors', help: 'Of those, given up', of: ({ errors }) => errors },
  {
    name: 'unit_wait_seconds',
    help: 'From asking for a unit to having it, summed',
    of: ({ waitMsSum }) => waitMsSum / 1000,
  },
];

interface LineMetric {
  readonly kind: 'counter' | 'gauge';
  readonly name: string;
  readonly help: string;
  /** Undefined while nothing is known. */
  readonly of: (fetcher: FetchScheduler) => number | undefined;
}

const LINE_METRICS: readonly LineMetric[] = [
  line('counter', 'stalls_total', 'Requests that brought too little', ({ counters }) => counters.stalls),
  line('counter', 'hedges_total', 'Second requests beside one that stalled', ({ counters }) => counters.hedges),
  line('counter', 'retries_total', 'Attempts after a failure', ({ counters }) => counters.retries),
  line('counter', 'whole_blobs_total', 'Whole blobs instead of a range', ({ counters }) => counters.wholeBlobs),
  line('counter', 'bad_units_total', 'Units that arrived with wrong bytes', ({ counters }) => counters.badUnits),
  line('gauge', 'requests_in_flight', 'Requests under way', ({ inFlight }) => inFlight.requests),
  line('gauge', 'bytes_in_flight', 'Bytes asked for with them', ({ inFlight }) => inFlight.bytes),
  line('gauge', 'line_bytes_per_second', 'Bandwidth as measured on what came', ({ link }) => link.bytesPerSec),
  line('gauge', 'line_delay_seconds', 'From a request to its first byte', ({ link }) =>
    link.delayMs === undefined ? undefined : link.delayMs / 1000,
  ),
];

function line(kind: LineMetric['kind'], name: string, help: string, of: LineMetric['of']): LineMetric {
  return { kind, name: `naiad_registry_${name}`, help, of };
}

export function addFetchMetrics(registers: Registry[], fetchers: () => Fetchers): void {
  const nameOf = (host: string | undefined) => host ?? 'local';
  for (const { name, help, of } of KIND_METRICS) {
    const made = new Counter({
      ...{ name: `naiad_registry_fetched_${name}_total`, help, labelNames: ['registry', 'kind'], registers },
      collect: () => {
        made.reset();
        for (const [host, { counters }] of fetchers()) {
          for (const kind of PRIORITIES) made.inc({ registry: nameOf(host), kind }, of(counters[kind]));
        }
      },
    });
  }
  for (const { kind, name, help, of } of LINE_METRICS) {
    const collect = () => {
      made.reset();
      for (const [host, fetcher] of fetchers()) {
        const value = of(fetcher);
        if (value !== undefined) made.inc({ registry: nameOf(host) }, value);
      }
    };
    const options = { name, help, labelNames: ['registry'], registers, collect };
    const made = kind === 'counter' ? new Counter(options) : new Gauge(options);
  }
}
