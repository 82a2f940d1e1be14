// How V8 runs a conversion. It lasts seconds, its hot loops are in libraries, and what passes through it are buffers outside
// the heap: what V8's own threads take for compiling and collecting is missing where chunks are compressed.
import { getHeapSpaceStatistics, getHeapStatistics, setFlagsFromString } from 'node:v8';
import { setInterruptBudget } from '../base/interrupt-budget.ts';
import { MiB } from '../base/units.ts';
import { createCollector } from '../codec/collect.ts';

/**
 * Bytecode a function runs before it is worth optimizing; V8's own value is 132 KiB. Measured over a Debian image on two
 * cores, MB of tar a second: 227 at 300,000, 235 at this one, 218 at 1,500,000.
 */
const INTERRUPT_BUDGET = 700_000;

/**
 * Percent of what is alive that may be garbage before all of it is collected. The buffers of gunzip and of file reading count
 * as such, so that V8's own value collects a heap of 8 MB every 20 MB of tar: 199 MB of tar a second, where this one had 227.
 */
const GARBAGE_PERCENT = 600;
/** The same, of an image of many files or large chunks. */
const GARBAGE_PERCENT_LARGE = 200;
/** And in bytes: a multiple of much would be too much. */
const GARBAGE_SIZE_MAX = 64 * MiB;
/** New objects are moved out of the way twice at this size of their space; V8 would double it, and fill it with garbage. */
const NEW_SPACE_SIZE_MAX = 8 * MiB;

/** Stored bytes read between two collections of young objects: their decompressed pieces would wait for 60 MiB of them. */
const READ_SIZE_MAX_LARGE = 2 * MiB;

let percent = 0;
let collectRead: ((bytes: number) => void) | undefined;
let newSpaceIsCapped = true;

/** Call before the converter is loaded: functions get the budget when they are first compiled. */
export function tuneEngine(): void {
  setInterruptBudget(INTERRUPT_BUDGET);
  // Machine code without optimizing costs next to nothing, and most functions now run without anything better: 6 % faster.
  setFlagsFromString('--always-sparkplug');
  setPercent(GARBAGE_PERCENT);
  newSpaceIsCapped = false;
}

/**
 * Call for every `read` bytes of a layer while a tuned conversion runs; takes microseconds. Keeps garbage in bounds once the
 * image is not `small` any more: as far as V8 tells, buffers that wait to be collected are alive.
 */
export function watchHeap(small: boolean, read: number): void {
  if (percent === 0) return;
  if (!small) {
    collectRead ??= createCollector(READ_SIZE_MAX_LARGE);
    collectRead(read);
  }
  const { used_heap_size: heap, external_memory: buffers } = getHeapStatistics();
  const bounded = Math.min(GARBAGE_PERCENT_LARGE, Math.ceil((GARBAGE_SIZE_MAX / (heap + buffers)) * 100));
  setPercent(small ? GARBAGE_PERCENT : bounded);
  if (!newSpaceIsCapped && newSpaceSize() >= NEW_SPACE_SIZE_MAX) {
    newSpaceIsCapped = true;
    setFlagsFromString('--semi-space-growth-factor=1');
  }
}

function setPercent(value: number): void {
  if (value !== percent) setFlagsFromString(`--heap-growing-percent=${value}`);
  percent = value;
}

function newSpaceSize(): number {
  return getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space')?.space_size ?? 0;
}
