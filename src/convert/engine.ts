// How V8 runs a conversion. It lasts seconds, its hot loops are in libraries, and what passes through it are buffers outside
// the heap: what V8's own threads take for compiling and collecting is missing where chunks are compressed.
import { getHeapSpaceStatistics, getHeapStatistics, setFlagsFromString } from 'node:v8';
import { MiB } from '../base/units.ts';

/**
 * Bytecode a function runs before it is worth optimizing; V8's own value is 132 KiB. Measured over a Debian image on two
 * cores, CPU seconds in all: 4.5 with V8's value, 4.2 at 500,000, 3.9 at this one.
 */
const INTERRUPT_BUDGET = 1_500_000;

/**
 * Percent of what is alive that may be garbage before all of it is collected. The buffers of gunzip and of file reading count
 * as such, so that V8's own value collects a heap of 8 MB every 20 MB of tar: 199 MB of tar a second, where 600 had 227.
 * Between 200 and 600 the seconds are the same and 30 MiB of peak memory are not.
 */
const GARBAGE_PERCENT = 200;
/** Garbage that an image of very many files may leave, when that is less. */
const GARBAGE_SIZE_MAX = 64 * MiB;
/** New objects are moved out of the way twice at this size of their space; V8 would double it, and fill it with garbage. */
const NEW_SPACE_SIZE_MAX = 16 * MiB;

let percent = 0;
let newSpaceIsCapped = true;

/** Call before the converter is loaded: functions get the budget when they are first compiled. */
export function tuneEngine(): void {
  setFlagsFromString(`--interrupt-budget=${INTERRUPT_BUDGET}`);
  setPercent(GARBAGE_PERCENT);
  newSpaceIsCapped = false;
}

/** Call now and then while a tuned conversion runs; takes microseconds. Keeps garbage in bounds as what is alive grows. */
export function watchHeap(): void {
  if (percent === 0) return;
  const { used_heap_size: heap, external_memory: buffers } = getHeapStatistics();
  setPercent(Math.min(GARBAGE_PERCENT, Math.ceil((GARBAGE_SIZE_MAX / (heap + buffers)) * 100)));
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
