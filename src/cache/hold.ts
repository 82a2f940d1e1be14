// Files of the cache that a mount needs beside its blobs: held, they are not removed to make room.
import { closeSync } from 'node:fs';
import { tryLock } from '../native/lock.ts';
import { openToLock } from './inventory.ts';

/** Holds those of the files that are there, until disposed of. */
export function holdFiles(paths: readonly string[]): Disposable {
  const held = paths.flatMap((path) => openToLock(path) ?? []);
  // One that is busy is being removed at this moment, and will be fetched again.
  for (const fd of held) tryLock(fd, 'shared');
  return {
    [Symbol.dispose]() {
      for (const fd of held.splice(0)) closeSync(fd);
    },
  };
}
