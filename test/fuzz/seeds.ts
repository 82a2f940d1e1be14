import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The seeds of a target, in an order that does not depend on the machine. */
export function readSeeds(name: string): Buffer[] {
  const dir = join('fixtures', 'fuzz', name);
  return readdirSync(dir)
    .sort()
    .map((file) => readFileSync(join(dir, file)));
}
