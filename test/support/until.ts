// Waiting for what another process does.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Patience {
  /** Milliseconds between two looks. */
  readonly everyMs?: number;
  readonly withinSec?: number;
}

/** Looks until `holds`; fails, naming `what`, when it does not within a minute or the time given. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  { everyMs = 20, withinSec = 60 }: Patience = {},
): Promise<void> {
  for (const end = Date.now() + withinSec * 1000; Date.now() < end; await sleep(everyMs)) if (await holds()) return;
  assert.fail(`not within ${withinSec} s: ${what}`);
}
