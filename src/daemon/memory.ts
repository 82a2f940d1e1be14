// A daemon lives long and mostly waits: it is kept small at the price of a little speed. Measured with one mount read from
// front to back: 120 MB without any of this, 85 with it.
import { setInterruptBudget } from '../base/interrupt-budget.ts';
import { MiB } from '../base/units.ts';
import { createCollector } from '../codec/collect.ts';
import { limitMemory } from '../native/memory.ts';

/** Fetched bytes whose buffers V8, which weighs only the objects around them, may leave uncollected. */
const UNCOLLECTED_SIZE_MAX = 4 * MiB;

/**
 * Bytecode a function runs before it is compiled a second time, for speed; V8's own value is 132 KiB. The compiler takes megabytes
 * while it works, and what it would speed up waits for the network.
 */
const INTERRUPT_BUDGET = 3_000_000;

/** Call before what fetches is loaded. Returns what is to be told of fetched bytes that are done with. */
export function tuneMemory(): (bytes: number) => void {
  limitMemory();
  setInterruptBudget(INTERRUPT_BUDGET);
  return createCollector(UNCOLLECTED_SIZE_MAX);
}
