// A way from an image's name to a running application, as a benchmark compares them.
import type { RunningContainer } from './container.ts';
import type { Usage } from './process-usage.ts';

export const MODES = ['full-pull', 'lazy', 'trace', 'optimized', 'warm', 'local'] as const;
export type Mode = (typeof MODES)[number];

/** Other programs that bring images to containers. */
export const PEER_NAMES = ['containerd', 'podman', 'nydusd', 'stargz'] as const;
export type PeerName = (typeof PEER_NAMES)[number];

/** Parts of a start, in their order. */
export const PHASES = ['resolve', 'bootstrap', 'pull', 'mount', 'create', 'run'] as const;
export type Phase = (typeof PHASES)[number];

/** Ends of the parts that come before the container, in milliseconds since the epoch. */
export type Marks = readonly (readonly [Phase, number])[];

export interface Launched {
  /** One for each network that was given. */
  readonly containers: readonly RunningContainer[];
  readonly marks: Marks;
}

/** What only the way itself can tell of a start. */
export interface StartFacts {
  /** The driver that `auto` chose, and the like. */
  readonly what?: string;
  readonly stalls?: readonly Stall[];
  readonly hotBytes?: number;
}

/** Waits for bytes of one file. */
export interface Stall {
  readonly path: string;
  readonly count: number;
  readonly seconds: number;
}

/** One start from nothing. Disposing leaves nothing of it. */
export interface Start extends AsyncDisposable {
  /** On the clock. One container in each network, the paths of namespaces. */
  launch(networks: readonly string[]): Promise<Launched>;
  /** CPU and memory of all processes that bring the image: not of the runtime, the application or the registry. */
  usage(): Promise<Pick<Usage, 'cpuSeconds' | 'peakBytes'>>;
  /** After the measurement, before it is disposed of. `readyAt` in milliseconds since the epoch. */
  facts?(readyAt: number): Promise<StartFacts>;
}

export interface Way {
  /** `lazy`, or `lazy/fuse` where drivers are compared. */
  readonly key: string;
  readonly mode: Mode | 'peer';
  readonly driver?: string | undefined;
  /** In a line. */
  readonly what: string;
  begin(directory: string): Promise<Start>;
}
