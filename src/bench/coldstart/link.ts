// The link that a benchmark puts between a node and its registry.
import { NaiadError } from '../../base/errors.ts';
import { parseBandwidth, parseDuration } from '../../base/units.ts';

export interface Link {
  /** As it was written. */
  readonly text: string;
  readonly bytesPerSecond: number;
  /** Milliseconds of one round trip. */
  readonly rttMs: number;
}

/** `100mbit,20ms`: bandwidth, and the time of a round trip. @throws NaiadError USAGE */
export function parseLink(text: string): Link {
  const [bandwidth = '', latency = '', ...rest] = text.split(',');
  const bytesPerSecond = parseBandwidth(bandwidth);
  const rttMs = parseDuration(latency);
  if (bytesPerSecond === undefined || rttMs === undefined || rest.length > 0) {
    throw new NaiadError('USAGE', `link "${text}"`, {
      hint: 'Write bandwidth and round trip as 100mbit,20ms or 1gbit,1ms.',
    });
  }
  return { text, bytesPerSecond, rttMs };
}
