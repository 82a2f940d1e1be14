// The history of a config, whose steps and the layers that they made must match.
import type { JsonObject } from './json-reader.ts';

/**
 * The source's history with steps whose layer is gone marked as such, so that history and layers still match; unchanged
 * where they did not match before.
 */
export function keptHistory(history: unknown, kept: readonly boolean[]): unknown[] {
  if (!Array.isArray(history)) return [];
  const makesLayer = (step: unknown) => (step as JsonObject | null)?.empty_layer !== true;
  if (history.filter(makesLayer).length !== kept.length) return history;
  let layer = 0;
  return history.map((step) => {
    if (!makesLayer(step)) return step;
    return kept[layer++] ? step : { ...(step as JsonObject), empty_layer: true };
  });
}
