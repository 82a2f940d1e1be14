// What a start touched of an image, as the mount recorded it: files that were waited for, and the bytes nobody can do without.
import { openDevices } from '../../backend/devices.ts';
import { displayBytes } from '../../base/bytes.ts';
import { parseTrace } from '../../format/trace/path-list.ts';
import type { Touch, Trace } from '../../format/trace/trace.ts';
import { matchTrace, type TracedImage } from '../../image/trace-chunks.ts';
import { openConvertedImage } from '../../transport/image.ts';
import { nowMs } from './link-proxy.ts';
import type { StartFacts } from './way.ts';

/** What the daemon answers when it is asked for the trace of a mount. */
export interface RecordedTrace {
  /** A trace file. */
  readonly trace: string;
  /** Of the monotonic clock, when its times begin. */
  readonly sinceMs: number;
}

export class TouchedImage {
  readonly #image: TracedImage;

  private constructor(image: TracedImage) {
    this.#image = image;
  }

  static async open(reference: string, signal: AbortSignal): Promise<TouchedImage> {
    await using image = await openConvertedImage(reference, { signal });
    const { bootstrap } = image;
    const devices = await openDevices(bootstrap, (blobId) => image.blobReader(blobId), signal);
    return new TouchedImage({ bootstrap, devices });
  }

  /** Of the touches until `readyAt`, in milliseconds since the epoch. */
  factsOf({ trace, sinceMs }: RecordedTrace, readyAt: number): Required<Pick<StartFacts, 'stalls' | 'hotBytes'>> {
    const until = traceUntil({ trace, sinceMs }, readyAt);
    const { storedBytes } = matchTrace(until, this.#image).applied;
    return { stalls: stallsOf(until.touches), hotBytes: storedBytes };
  }
}

/** The touches until `readyAt`, in milliseconds since the epoch. */
export function traceUntil({ trace, sinceMs }: RecordedTrace, readyAt: number): Trace {
  const recorded = parseTrace(Buffer.from(trace));
  const monotonicAt = Number(process.hrtime.bigint()) / 1e6 - (nowMs() - readyAt);
  return { ...recorded, touches: recorded.touches.filter(({ atMs }) => atMs + sinceMs <= monotonicAt) };
}

function stallsOf(touches: readonly Touch[]): { path: string; count: number; seconds: number }[] {
  const byPath = new Map<string, { count: number; seconds: number }>();
  for (const { path, waitMs } of touches) {
    if (waitMs <= 0) continue;
    const name = displayBytes(path) || 'a file of unknown name';
    const known = byPath.get(name) ?? { count: 0, seconds: 0 };
    byPath.set(name, { count: known.count + 1, seconds: known.seconds + waitMs / 1000 });
  }
  return [...byPath].map(([path, stall]) => ({ path, ...stall }));
}
