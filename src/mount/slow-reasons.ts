// Why a mount is not as fast as it could be, in sentences: nothing is silently not lazy, nor silently slow.
import { MIRROR_DISTRUST_MS } from '../base/limits.ts';
import { formatSize } from '../base/units.ts';
import type { DriverName } from './driver.ts';
import { type DriverReason, driverReasons } from './drivers.ts';
import type { MountStatus } from './mount-api.ts';

/** What is said of a mount depends on these alone. */
export type MountFacts = Omit<MountStatus, 'slow'>;

/** Fastest first. */
const BY_SPEED: readonly DriverName[] = ['erofs', 'fuse', 'fuse-native'];

/** Empty when nothing is left to wish for. `quickly`: without other drivers, unless they are known already. */
export function slowReasons(facts: MountFacts, { quickly = false } = {}): string[] {
  const { mount, devices, counters, prefetch } = facts;
  const reasons: string[] = [];
  const bytes = devices.reduce((sum, device) => sum + device.bytes, 0);
  const total = devices.reduce((sum, device) => sum + device.bytesTotal, 0);
  if (bytes < total) {
    reasons.push(`${formatSize(total - bytes)} of ${formatSize(total)} are not here yet: their first reader waits.`);
  }
  reasons.push(...driverReason(mount.driver, mount.cache, quickly), ...lineReasons(facts), ...registryReasons(facts));
  if (prefetch?.state === 'waiting' || prefetch?.state === 'stopped') {
    reasons.push(
      `What is fetched before it is read ${prefetch.state === 'waiting' ? 'waits' : 'was given up'}: ${prefetch.why}.`,
    );
  }
  if (counters.cache.badChunks > 0) {
    reasons.push(`${counters.cache.badChunks} chunks arrived wrong and were fetched again: naiad check ${mount.image}`);
  }
  if (counters.cache.quarantines > 0) {
    reasons.push(
      `Chunks were wrong wherever they came from, ${counters.cache.quarantines} times: they are left alone for a while.`,
    );
  }
  if (counters.errors > 0) {
    reasons.push(
      `${counters.errors} reads failed, last with ${counters.lastError ?? 'an error of which nothing is known'}`,
    );
  }
  return reasons;
}

/** Reads that wait longer than this on average are worth a word. */
const WAIT_MS_WORTH_TELLING = 50;

/** How long readers wait, and what the line gives. */
function lineReasons({ counters, fetching }: MountFacts): string[] {
  const { bytesPerSec, delayMs } = fetching;
  const waitMs = counters.waits === 0 ? 0 : counters.waitMsSum / counters.waits;
  if (waitMs < WAIT_MS_WORTH_TELLING || bytesPerSec === undefined || delayMs === undefined) return [];
  const line = `${formatSize(bytesPerSec)}/s and ${Math.round(delayMs)} ms to a first byte`;
  return [`A read of what is not here waits ${Math.round(waitMs)} ms on average; the line gives ${line}.`];
}

/** What went wrong on the way to the registry. */
function registryReasons({ traffic, fetching }: MountFacts): string[] {
  const reasons: string[] = [];
  const { stalls, retries } = fetching.counters;
  if (traffic && traffic.rangesIgnored > 0) {
    reasons.push(
      `The registry ignored ${traffic.rangesIgnored} ranges and sent whole blobs: use a mirror that honours them.`,
    );
  }
  for (const mirror of traffic?.distrusted ?? []) {
    reasons.push(`Mirror ${mirror} gave wrong bytes: it is asked last for ${MIRROR_DISTRUST_MS / 60_000} minutes.`);
  }
  const repeated = retries + (traffic?.retries ?? 0);
  if (repeated > 0) reasons.push(`${repeated} requests to the registry had to be repeated.`);
  if (stalls > 0) reasons.push(`Requests to the registry stalled ${stalls} times; a second one was sent beside them.`);
  return reasons;
}

/** A faster driver, and what keeps it from being used. */
function driverReason(name: DriverName | undefined, cache: string, quickly: boolean): string[] {
  if (name === undefined) return [];
  const faster = BY_SPEED.slice(0, BY_SPEED.indexOf(name));
  return knownReasons(cache, faster, quickly).map(({ name: better, reason }) =>
    reason
      ? `Not driver ${better}, which is faster: ${reason.message}`
      : `Driver ${better} is faster and works here: --driver ${better}`,
  );
}

/** Finding out takes tens of milliseconds, for a program is started, and hardly ever changes. */
const REASONS_AGE_MAX_MS = 60_000;
const known = new Map<string, { readonly reasons: DriverReason[]; readonly at: number }>();

function knownReasons(cache: string, names: readonly DriverName[], quickly: boolean): DriverReason[] {
  if (names.length === 0) return [];
  const key = `${names.join()} ${cache}`;
  const before = known.get(key);
  if (before && performance.now() - before.at < REASONS_AGE_MAX_MS) return before.reasons;
  if (quickly) return [];
  const reasons = driverReasons(cache, names);
  known.set(key, { reasons, at: performance.now() });
  return reasons;
}
