// What a report on starts consists of. Pure.
import type { ColdstartOutcome, ColdstartRun } from './coldstart-bench.ts';
import type { Link } from './link.ts';
import type { Mode, Phase, Stall } from './way.ts';

/** Of the runs of one way. */
export interface Summary {
  readonly p50: number;
  readonly p90: number;
  readonly min: number;
  readonly max: number;
  readonly mean: number;
}

/** What is measured of each start, its unit, and how it is told. */
export const FIGURES = {
  ready: { unit: 'seconds', of: (run: ColdstartRun) => run.readySeconds },
  first: { unit: 'seconds', of: (run: ColdstartRun) => run.firstReadySeconds },
  bytes: { unit: 'bytes', of: (run: ColdstartRun) => run.bytesUntilReady },
  'bytes-after': { unit: 'bytes', of: (run: ColdstartRun) => run.bytesAfter },
  requests: { unit: 'count', of: (run: ColdstartRun) => run.requestsUntilReady },
  'requests-after': { unit: 'count', of: (run: ColdstartRun) => run.requestsAfter },
  cpu: { unit: 'seconds', of: (run: ColdstartRun) => run.cpuSeconds },
  memory: { unit: 'bytes', of: (run: ColdstartRun) => run.peakBytes },
} as const satisfies Record<string, { unit: Unit; of: (run: ColdstartRun) => number }>;

export type Unit = 'seconds' | 'bytes' | 'count';
export type Figure = keyof typeof FIGURES;

export interface WayReport {
  readonly key: string;
  readonly mode: Mode | 'peer';
  readonly driver?: string | undefined;
  readonly what: string;
  /** The driver that `auto` took, and the like. */
  readonly chosen?: string | undefined;
  readonly runs: number;
  readonly figures: Readonly<Record<Figure, Summary>>;
  /** Medians, in seconds, of those parts that it has. */
  readonly phases: Readonly<Partial<Record<Phase, Summary>>>;
  /** Of the median times to ready. */
  readonly toFullPull?: number | undefined;
  readonly toLimit?: number | undefined;
  /** Of all runs together, the longest first. */
  readonly stalls: readonly Stall[];
}

/** What no start over this link can be faster than. */
export interface Limit {
  readonly seconds: number;
  /** Two round trips and the bytes of manifest, config and bootstrap. */
  readonly metadataSeconds: number;
  /** Compressed bytes of the chunks a start touches; undefined when nothing told them, and the limit is then a lower one. */
  readonly hotBytes?: number | undefined;
  readonly hotSeconds?: number | undefined;
  /** Median of the same start on a local disk; undefined when that was not measured. */
  readonly localSeconds?: number | undefined;
}

export interface ColdstartReport extends Omit<ColdstartOutcome, 'ways' | 'measuredLink'> {
  readonly version: 1;
  /** ISO 8601. */
  readonly created: string;
  /** Words after `naiad`. */
  readonly command: readonly string[];
  readonly link: Link & { readonly measured: ColdstartOutcome['measuredLink'] };
  readonly ready: string;
  readonly containers: number;
  readonly rounds: number;
  readonly pageCache: 'dropped' | 'kept';
  readonly limit: Limit;
  readonly ways: readonly WayReport[];
  readonly targets: readonly Target[];
  readonly failIf: readonly FailIfResult[];
}

export interface ReportContext {
  readonly created: string;
  readonly command: readonly string[];
  readonly link: Link;
  readonly ready: string;
  readonly containers: number;
  readonly rounds: number;
  readonly pageCache: 'dropped' | 'kept';
}

export interface Target {
  readonly kind: TargetKind;
  /** Key of the way that it is asked of. */
  readonly way: string;
  readonly text: string;
  readonly met: boolean;
  readonly got: string;
  /** Of one that was missed. */
  readonly why?: string;
}

/** In the order of columns. */
export const TARGET_KINDS = ['limit', 'faster', 'never-slower', 'bytes'] as const;
export type TargetKind = (typeof TARGET_KINDS)[number];

export interface FailIfResult {
  readonly text: string;
  readonly failed: boolean;
  /** Why, with the numbers. */
  readonly why: string;
}
