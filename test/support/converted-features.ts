// The fixture that has every kind of file, converted.
import { join, resolve } from 'node:path';
import { fixturePath } from './fixtures.ts';
import type { NaiadHome } from './naiad.ts';

/** The reference of the image itself; only after `fixture('features')` was met, as below. */
export function features(): string {
  return `oci:${resolve(fixturePath('features'))}:latest`;
}

/** Converts it into a layout below `dir`; returns its reference. */
export async function convertedFeatures(dir: string, naiad: Pick<NaiadHome, 'run'>): Promise<string> {
  const image = `oci:${join(dir, 'layout')}:x`;
  await naiad.run(['convert', '--quiet', features(), image]);
  return image;
}
