// What fetching did, by who asked for it. The daemon's metrics and `naiad status` are made from these.

/** Who waits: a reader; a container that will read soon; nobody yet. In order of precedence. */
export const PRIORITIES = ['demand', 'hot', 'background'] as const;
export type Priority = (typeof PRIORITIES)[number];

export interface KindCounters {
  /** Ranged requests that were sent, hedges and retries included. */
  requests: number;
  /** Stored bytes that arrived. */
  bytes: number;
  /** Units (chunks or batches) that were brought, or were given up. */
  units: number;
  errors: number;
  /** From asking for a unit to having it, summed over `units`; and the longest. */
  waitMsSum: number;
  waitMsMax: number;
}

export interface FetchCounters extends Record<Priority, KindCounters> {
  /** Requests that brought less than the floor; second requests sent because of that; attempts after a failure. */
  stalls: number;
  hedges: number;
  retries: number;
  /** Whole blobs that came instead of a range. */
  wholeBlobs: number;
  /** Units that arrived with wrong bytes. */
  badUnits: number;
}

export function newFetchCounters(): FetchCounters {
  const kind = (): KindCounters => ({ requests: 0, bytes: 0, units: 0, errors: 0, waitMsSum: 0, waitMsMax: 0 });
  return {
    demand: kind(),
    hot: kind(),
    background: kind(),
    stalls: 0,
    hedges: 0,
    retries: 0,
    wholeBlobs: 0,
    badUnits: 0,
  };
}
