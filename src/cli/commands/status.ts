import { setTimeout as sleep } from 'node:timers/promises';
import { PRIORITIES } from '../../backend/fetch-counters.ts';
import { formatSize } from '../../base/units.ts';
import type { MountStatus } from '../../mount/mount-api.ts';
import type { ListedMount } from '../../mount/mounts.ts';
import { defineCommand } from '../command.ts';

const WATCH_INTERVAL_MS = 1000;

export const command = defineCommand({
  usage: 'status',
  summary: 'Show what is mounted and what was fetched',
  examples: [
    ['naiad status', 'Every mount, what it has fetched, and why it is not faster'],
    ['naiad status --watch', 'The same every second, with rates, until Ctrl-C'],
    ['naiad status --json', 'The same for programs; with --watch one document a second'],
  ],
  options: (parser) =>
    parser.option('watch', { type: 'boolean', default: false, describe: 'Show it anew every second, with rates' }),
  async run({ watch }, io) {
    const { listMounts } = await import('../../mount/mounts.ts');
    let before: readonly ListedMount[] = [];
    do {
      const mounts = await listMounts();
      const text = () => {
        const all = mounts.map((mount) => renderMount(mount, rateOf(mount, before)));
        return `${watch ? CLEAR : ''}${all.length === 0 ? 'nothing is mounted' : all.join('\n\n')}`;
      };
      io.result(mounts, text);
      before = mounts;
      if (watch) await sleep(WATCH_INTERVAL_MS, undefined, { signal: io.signal }).catch(() => undefined);
    } while (watch && !io.signal.aborted);
  },
});

/** Top of the terminal, and nothing below. */
const CLEAR = '\u001b[H\u001b[J';

/** Of the last second. */
interface Rate {
  readonly reads: number;
  readonly waits: number;
  readonly readBytes: number;
  readonly fetchedBytes: number;
  readonly waitMs: number;
  readonly errors: number;
}

function rateOf(listed: ListedMount, before: readonly ListedMount[]): Rate | undefined {
  const last = before.find(({ mount }) => mount.id === listed.mount.id && mount.since === listed.mount.since);
  if (listed.state !== 'serving' || last?.state !== 'serving') return undefined;
  const [now, then] = [listed.counters, last.counters];
  return {
    reads: now.reads - then.reads,
    waits: now.waits - then.waits,
    readBytes: now.readBytes - then.readBytes,
    fetchedBytes: now.backend.bytes - then.backend.bytes,
    waitMs: now.waitMsSum - then.waitMsSum,
    errors: now.errors - then.errors,
  };
}

function renderMount(listed: ListedMount, rate: Rate | undefined): string {
  const { mount } = listed;
  const lines = [
    `${mount.mountpoint}`,
    `  image    ${mount.image}`,
    ...(mount.manifestDigest ? [`  digest   ${mount.manifestDigest}`] : []),
    `  state    ${listed.state}, process ${mount.process.pid}, since ${mount.since}`,
  ];
  if (listed.state !== 'serving') {
    const { resuming } = listed.state === 'starting' ? mount : {};
    return [...lines, ...listOf('waits', resuming ? [resuming] : []), `  hint     ${listed.hint}`].join('\n');
  }
  const { devices, counters, metadataBytes } = listed;
  const sum = (of: (device: (typeof devices)[number]) => number) => devices.reduce((total, one) => total + of(one), 0);
  const [bytes, bytesTotal] = [sum((device) => device.bytes), sum((device) => device.bytesTotal)];
  const share = bytesTotal === 0 ? 100 : Math.floor((bytes / bytesTotal) * 100);
  const { backend, cache } = counters;
  lines.push(
    `  driver   ${mount.driver}${mount.readWrite ? `, writes in ${mount.readWrite.upper}` : ', read-only'}`,
    `  cached   ${formatSize(bytes)} of ${formatSize(bytesTotal)} (${share}%) in ${devices.length} blobs`,
    `  fetched  ${formatSize(backend.bytes + metadataBytes)} in ${backend.requests} requests, metadata included`,
    `  reads    ${counters.reads}, of which ${counters.waits} waited for a fetch${waitOf(counters)}`,
    ...lineOf(listed.fetching),
  );
  if (listed.prefetch) {
    const { state, why, progress } = listed.prefetch;
    const of = progress?.bytesTotal === undefined ? '' : ` of ${formatSize(progress.bytesTotal)}`;
    lines.push(`  prefetch ${state}${progress ? ` (${formatSize(progress.bytes)}${of} done)` : ''}: ${why}`);
  }
  if (rate) {
    const waited = rate.waits === 0 ? '0 waited' : `${rate.waits} waited ${milliseconds(rate.waitMs / rate.waits)}`;
    const given = `${rate.reads} reads (${formatSize(rate.readBytes)}), ${waited}, ${rate.errors} failed`;
    lines.push(`  now      ${given}, ${formatSize(rate.fetchedBytes)} fetched a second`);
  }
  if (counters.errors > 0) lines.push(`  errors   ${counters.errors}, last: ${counters.lastError ?? '?'}`);
  if (cache.badChunks > 0) lines.push(`  corrupt  ${cache.badChunks} chunks arrived wrong`);
  return [...lines, ...listOf('why', mount.why), ...listOf('slow', listed.slow)].join('\n');
}

function waitOf({ waits, waitMsSum, waitMsMax }: MountStatus['counters']): string {
  if (waits === 0) return '';
  return `: ${milliseconds(waitMsSum / waits)} on average, at most ${milliseconds(waitMsMax)}`;
}

/** The way to the registry, as far as it is known. */
function lineOf({ bytesPerSec, delayMs, inFlight, counters }: MountStatus['fetching']): string[] {
  if (bytesPerSec === undefined && delayMs === undefined) return [];
  const speed = bytesPerSec === undefined ? [] : [`${formatSize(bytesPerSec)}/s`];
  const delay = delayMs === undefined ? [] : [`first byte after ${milliseconds(delayMs)}`];
  const kinds = PRIORITIES.map((kind) => `${formatSize(counters[kind].bytes)} ${kind}`);
  const ways = [...speed, ...delay, `${inFlight.requests} requests under way`];
  return [`  line     ${ways.join(', ')}; all mounts of it: ${kinds.join(', ')}`];
}

function milliseconds(ms: number): string {
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

function listOf(name: string, sentences: readonly string[]): string[] {
  return sentences.map((line, index) => `  ${(index === 0 ? name : '').padEnd(9)}${line}`);
}
