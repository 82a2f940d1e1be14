// What peers of a benchmark have in common.
import type { Stage } from '../stage.ts';
import type { Start } from '../way.ts';
import type { WorkerProcess } from '../worker-process.ts';

export interface PeerTools {
  readonly stage: Stage;
  /** Runs pull-main.ts. */
  readonly puller: WorkerProcess;
  /** `host:port` of the registry, not behind the link. */
  readonly near: string;
  /** For what is prepared once; does not exist. */
  readonly directory: string;
}

export interface Peer {
  readonly programs: readonly string[];
  /** In a line. */
  readonly what: string;
  /** Once, off the clock. */
  prepare?(tools: PeerTools): Promise<void>;
  begin(tools: PeerTools, directory: string): Promise<Start>;
}

/** Name of the environment's variable that tells the processes of one start from all others. */
export const MARK = 'NAIAD_BENCH_START';

/** As these programs write references. */
export function plainReference(reference: string): string {
  return reference.replace(/^docker:\/\//, '');
}
