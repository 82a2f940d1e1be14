// The size limit of a cache as users write it.
import { NaiadError } from '../base/errors.ts';
import { parseSize } from '../base/units.ts';

/** `20GiB`, `none`; what NAIAD_CACHE_SIZE and --cache-size take. @throws NaiadError USAGE */
export function parseSizeMax(text: string): number {
  if (text === 'none') return Number.MAX_SAFE_INTEGER;
  const bytes = parseSize(text);
  if (bytes !== undefined) return bytes;
  throw new NaiadError('USAGE', `${JSON.stringify(text)} is no size of a cache`, {
    hint: 'Write 20GiB, 500MB or none.',
  });
}

/** What NAIAD_CACHE_SIZE says; undefined when it is not set. @throws NaiadError USAGE */
export function sizeMaxFromEnvironment(): number | undefined {
  const text = process.env.NAIAD_CACHE_SIZE;
  return text ? parseSizeMax(text) : undefined;
}
