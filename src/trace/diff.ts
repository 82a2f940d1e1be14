// What one start touches and another does not.
import { displayBytes } from '../base/bytes.ts';
import type { Touch, Trace } from '../format/trace/trace.ts';
import { totals } from './files.ts';
import { touchKey } from './merge.ts';

export interface DiffSide {
  readonly touches: number;
  readonly bytes: number;
  readonly stalls: number;
  readonly waitMs: number;
  readonly readyMs: number | undefined;
}

export interface FileDiff {
  readonly path: string;
  /** `changed`: the same place with another content. */
  readonly kind: 'first' | 'second' | 'changed';
  readonly touches: number;
  readonly bytes: number;
}

export interface TraceDiff {
  readonly first: DiffSide;
  readonly second: DiffSide;
  /** Touches of both, by content; and by place with another content. */
  readonly same: number;
  readonly changed: number;
  readonly onlyFirst: number;
  readonly onlySecond: number;
  /** Files with a difference, by path. */
  readonly files: readonly FileDiff[];
}

/** Touches are the same by content; where only the place is, the content has changed. */
export function diffTraces(first: Trace, second: Trace): TraceDiff {
  const inSecond = { keys: keysOf(second), places: placesOf(second) };
  const inFirst = { keys: keysOf(first), places: placesOf(first) };
  const files = new Map<string, FileDiff>();
  const counts = { same: 0, changed: 0, onlyFirst: 0, onlySecond: 0 };
  const add = (touch: Touch, kind: FileDiff['kind']) => {
    const path = displayBytes(touch.path);
    const before = files.get(`${path}\0${kind}`) ?? { path, kind, touches: 0, bytes: 0 };
    const bytes = before.bytes + (touch.size ?? 0);
    files.set(`${path}\0${kind}`, { ...before, touches: before.touches + 1, bytes });
  };
  for (const touch of first.touches) {
    if (inSecond.keys.has(touchKey(touch))) counts.same++;
    else if (inSecond.places.has(placeOf(touch))) {
      counts.changed++;
      add(touch, 'changed');
    } else {
      counts.onlyFirst++;
      add(touch, 'first');
    }
  }
  for (const touch of second.touches) {
    if (inFirst.keys.has(touchKey(touch)) || inFirst.places.has(placeOf(touch))) continue;
    counts.onlySecond++;
    add(touch, 'second');
  }
  const order = (a: FileDiff, b: FileDiff) =>
    a.path === b.path ? (a.kind < b.kind ? -1 : 1) : a.path < b.path ? -1 : 1;
  return { first: sideOf(first), second: sideOf(second), ...counts, files: [...files.values()].sort(order) };
}

function keysOf({ touches }: Trace): ReadonlySet<string> {
  return new Set(touches.map(touchKey));
}

function placesOf({ touches }: Trace): ReadonlySet<string> {
  return new Set(touches.filter(({ path }) => path !== '').map(placeOf));
}

function placeOf({ path, offset }: Touch): string {
  return `${path}\0${offset}`;
}

function sideOf({ touches, readyMs }: Trace): DiffSide {
  return { ...totals(touches), readyMs };
}
