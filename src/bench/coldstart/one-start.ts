// One start on the clock, from the name of an image to an application that is ready.
import { setTimeout as sleep } from 'node:timers/promises';
import { abortReason } from '../../base/concurrency.ts';
import { NaiadError, printable } from '../../base/errors.ts';
import { parseReady, ReadyWaiter } from '../../ready/ready.ts';
import type { RunningContainer } from './container.ts';
import { type LinkTraffic, nowMs } from './link-proxy.ts';
import type { ContainerNetwork } from './network.ts';
import type { Launched, Phase, Stall, Start } from './way.ts';

/** What one start took. Seconds since its beginning; bytes as the client received them, headers and all. */
export interface StartRecord {
  readonly readySeconds: number;
  /** Of several containers: when the first one was. */
  readonly firstReadySeconds: number;
  readonly phases: Readonly<Partial<Record<Phase, number>>>;
  readonly bytesUntilReady: number;
  readonly bytesAfter: number;
  readonly requestsUntilReady: number;
  readonly requestsAfter: number;
  readonly connections: number;
  readonly cpuSeconds: number;
  readonly peakBytes: number;
  /** Bytes received by then: pairs of seconds and bytes. */
  readonly curve: readonly (readonly [seconds: number, bytes: number])[];
  readonly requests: readonly (readonly [seconds: number, line: string])[];
  readonly what?: string | undefined;
  readonly stalls?: readonly Stall[] | undefined;
  readonly hotBytes?: number | undefined;
}

export interface StartSurroundings {
  /** As `--ready` takes it. */
  readonly ready: string;
  readonly networks: readonly ContainerNetwork[];
  /** Traffic since the last call. */
  readonly takeTraffic: () => Promise<LinkTraffic>;
  /** How long what comes after readiness is watched. */
  readonly watchMs: number;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Points of a curve in a report. */
const CURVE_POINTS_MAX = 200;
const SAID_MAX = 2000;

/** @throws NaiadError COMMAND_FAILED when it does not get ready, CANCELED */
export async function measureStart(start: Start, around: StartSurroundings): Promise<StartRecord> {
  await around.takeTraffic();
  const beganAt = nowMs();
  const launched = await start.launch(around.networks.map(({ path }) => path));
  try {
    const readyAts = await Promise.all(
      launched.containers.map((container, index) =>
        readyAt(container, around.networks[index] as ContainerNetwork, around),
      ),
    );
    const lastAt = Math.max(...readyAts);
    // Before anything else is done: what comes later is no part of the start.
    const usage = await start.usage();
    const createdAts = await Promise.all(launched.containers.map(({ created }) => created));
    await sleep(around.watchMs, undefined, { signal: around.signal }).catch(() => undefined);
    const traffic = await around.takeTraffic();
    const facts = await start.facts?.(lastAt);
    return {
      readySeconds: (lastAt - beganAt) / 1000,
      firstReadySeconds: (Math.min(...readyAts) - beganAt) / 1000,
      phases: phasesOf(beganAt, [
        ...launched.marks,
        ['create', Math.min(lastAt, Math.max(...createdAts.map((at) => at ?? lastAt)))],
        ['run', lastAt],
      ]),
      ...passed(traffic, beganAt, lastAt),
      ...usage,
      ...facts,
    };
  } finally {
    for (const container of launched.containers) await container.stop();
    await Promise.all(launched.containers.map(({ exited }) => exited));
  }
}

/** When the application in `container` was ready, in milliseconds since the epoch. */
async function readyAt(
  container: RunningContainer,
  network: ContainerNetwork,
  { ready, timeoutMs, signal }: StartSurroundings,
): Promise<number> {
  const when = parseReady(ready);
  // The end of the application ends all waiting, also where its log or network is waited for.
  const waiter = new ReadyWaiter(when.kind === 'exit' || when.kind === 'log' ? when : NEVER);
  let said = '';
  for (const stream of [container.child.stdout, container.child.stderr]) {
    stream?.on('data', (bytes: Buffer) => {
      waiter.output(bytes);
      said = (said + bytes.toString()).slice(-SAID_MAX);
    });
  }
  container.exited.then((code) => waiter.exited(code)).catch(() => undefined);
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), timeoutMs);
  const onAbort = () => limit.abort(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  const waits = [waiter.until(limit.signal).then(nowMs)];
  if (when.kind === 'http' || when.kind === 'tcp') waits.push(network.ready(ready));
  try {
    return await Promise.race(waits);
  } catch (cause) {
    if (signal.aborted) throw abortReason(signal);
    const late = `the application was not ready within ${timeoutMs / 1000} s`;
    const why = limit.signal.aborted ? late : (cause as Error).message;
    throw new NaiadError('COMMAND_FAILED', `${why}; it said: ${printable(said.trim())}`, { cause });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
    for (const wait of waits) wait.catch(() => undefined);
    await network.stop();
  }
}

const NEVER = { kind: 'log', text: 'its end', pattern: /(?!)/ } as const;

function phasesOf(beganAt: number, marks: Launched['marks']): Partial<Record<Phase, number>> {
  const phases: Partial<Record<Phase, number>> = {};
  let before = beganAt;
  for (const [phase, at] of marks) {
    // Clocks of two processes may differ by less than what is shown.
    phases[phase] = Math.max(0, at - before) / 1000;
    before = Math.max(before, at);
  }
  return phases;
}

function passed({ received, requests, connections }: LinkTraffic, beganAt: number, readyAt: number) {
  const sum = (pairs: LinkTraffic['received']) => pairs.reduce((total, [, bytes]) => total + bytes, 0);
  const [until, after] = [received.filter(([at]) => at <= readyAt), received.filter(([at]) => at > readyAt)];
  const requestsUntilReady = requests.filter(([at]) => at <= readyAt).length;
  return {
    bytesUntilReady: sum(until),
    bytesAfter: sum(after),
    requestsUntilReady,
    requestsAfter: requests.length - requestsUntilReady,
    connections,
    curve: curveOf(until, beganAt),
    requests: requests.map(([at, line]) => [(at - beganAt) / 1000, line] as const),
  };
}

/** Bytes so far at points in time, few enough to plot. */
function curveOf(received: LinkTraffic['received'], beganAt: number): [number, number][] {
  let total = 0;
  const all = received.map(([at, bytes]): [number, number] => {
    total += bytes;
    return [(at - beganAt) / 1000, total];
  });
  const step = Math.max(1, all.length / CURVE_POINTS_MAX);
  return all.filter(
    (_, index) => index === all.length - 1 || Math.floor(index / step) !== Math.floor((index - 1) / step),
  );
}
