// Places of a test that go away with it.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A fresh directory, removed when disposed. What is mounted below it must be unmounted by then. */
export function temporaryDir(name = 'test'): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), `naiad-${name}-`));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}
