// What the keeper did, for Prometheus: read from its journal, which outlives daemons, when somebody asks.
import { Counter, Gauge, type Registry } from 'prom-client';
import type { KeeperJournalHeader } from '../format/keeper/records.ts';

export interface KeeperFacts {
  readonly journal: KeeperJournalHeader;
  /** Readers that wait for an answer now. */
  readonly waiting: number;
}

type Metric = readonly [name: string, help: string, of: (facts: KeeperFacts) => number];

const COUNTERS: readonly Metric[] = [
  ['events_total', 'First reads of data that raised an event', ({ journal }) => journal.events],
  [
    'events_ready_total',
    'Of those, answered by the keeper because the data was there',
    ({ journal }) => journal.answeredReady,
  ],
  ['events_failed_total', 'Of those, answered with an error', ({ journal }) => journal.answeredDenied],
  ['daemons_total', 'Daemons that took its mounts over', ({ journal }) => journal.daemons],
  ['keepers_total', 'Keepers that were started, one after another', ({ journal }) => journal.keepers],
];

/** `facts` is asked for at each scrape; undefined while there is no keeper, and then the metrics are absent. */
export function addKeeperMetrics(registers: Registry[], facts: () => KeeperFacts | undefined): void {
  for (const [name, help, of] of COUNTERS) {
    const counter: Counter = new Counter({
      ...{ name: `naiad_keeper_${name}`, help, registers },
      collect: () => {
        counter.reset();
        const found = facts();
        if (found) counter.inc(of(found));
      },
    });
  }
  const waiting: Gauge = new Gauge({
    ...{ name: 'naiad_keeper_waiting', help: 'Readers that wait for an answer', registers },
    collect: () => waiting.set(facts()?.waiting ?? 0),
  });
}
