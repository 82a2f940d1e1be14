// Libraries that return a buffer for each call: V8 weighs the small object around one and lets hundreds of megabytes pile up
// behind them. It can be asked to drop those that nobody holds any more.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { MiB } from '../base/units.ts';

/**
 * Call with the size of buffers that were handed out and let go of. Takes a millisecond or two, once in `uncollectedMax`
 * bytes.
 */
export function createCollector(uncollectedMax = 16 * MiB): (size: number) => void {
  setFlagsFromString('--expose-gc');
  // A context of its own costs megabytes, so a process that lives long is started with the flag.
  const collect = (globalThis.gc ?? runInNewContext('gc')) as (options: { readonly type: 'minor' }) => void;
  let uncollected = 0;
  return (size) => {
    uncollected += size;
    if (uncollected < uncollectedMax) return;
    uncollected = 0;
    collect({ type: 'minor' });
  };
}
