// Libraries that return a buffer for each call: V8 weighs the small object around one and lets hundreds of megabytes pile up
// behind them. It can be asked to drop those that nobody holds any more.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { MiB } from '../base/units.ts';

const UNCOLLECTED_SIZE_MAX = 16 * MiB;

/** Call with the size of buffers that were handed out and let go of. Takes well under a millisecond, once in 16 MiB. */
export function createCollector(): (size: number) => void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as (options: { readonly type: 'minor' }) => void;
  let uncollected = 0;
  return (size) => {
    uncollected += size;
    if (uncollected < UNCOLLECTED_SIZE_MAX) return;
    uncollected = 0;
    collect({ type: 'minor' });
  };
}
