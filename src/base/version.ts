// Which naiad this is.
import { readFileSync } from 'node:fs';

/** Of the package that this file was installed with. */
export function version(): string {
  const manifest = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}
