import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FuzzTarget } from './target.ts';

/** The seeds of a target, in an order that does not depend on the machine. */
export function readSeeds({ name, seedsOf = name }: FuzzTarget): Buffer[] {
  const dir = join('fixtures', 'fuzz', seedsOf);
  return readdirSync(dir)
    .sort()
    .map((file) => readFileSync(join(dir, file)));
}
