// What `naiad bench read` does on every file system: the operations, and the files of an image each is done on.
import { lstatSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ByteString, stringToBytes } from '../base/bytes.ts';
import { KiB, MiB } from '../base/units.ts';

export const READ_OPERATIONS = ['stat', 'open-read-close', 'readdir', 'sequential', 'random'] as const;
export type ReadOperation = (typeof READ_OPERATIONS)[number];

/** Enough for a mean that repeats within a few per cent, few enough for a cold pass over FUSE to take a second. */
const PATHS_MAX = 4000;
/** What is read whole in one call. */
const SMALL_MAX = 64 * KiB;
const LARGE_MIN = 1 * MiB;
/** Bytes read in one pass; more than any readahead. */
const LARGE_TOTAL_MAX = 192 * MiB;

interface Found {
  readonly path: ByteString;
  readonly kind: 'file' | 'directory' | 'other';
  readonly size: number;
  /** Bytes that are no hole. */
  readonly stored: number;
}

/** Writes one list a operation below `dir`, of paths relative to `tree`, and returns their names. */
export function writeLists(tree: string, dir: string): Record<ReadOperation, string> {
  const found = list(tree);
  const small = found.filter(({ kind, size }) => kind === 'file' && size > 0 && size <= SMALL_MAX);
  const large = largest(found);
  const chosen: Record<ReadOperation, readonly Found[]> = {
    stat: spread(found),
    'open-read-close': spread(small),
    readdir: spread(found.filter(({ kind }) => kind === 'directory')),
    sequential: large,
    random: large,
  };
  const name = (operation: ReadOperation) => join(dir, `${operation}.list`);
  for (const operation of READ_OPERATIONS) {
    writeFileSync(name(operation), chosen[operation].map(({ path }) => `${path}\0`).join(''), 'latin1');
  }
  return Object.fromEntries(READ_OPERATIONS.map((operation) => [operation, name(operation)])) as Record<
    ReadOperation,
    string
  >;
}

/** Everything below `tree` in the order of names. Paths hold a byte a character: names need not be UTF-8. */
function list(tree: string): Found[] {
  const found: Found[] = [];
  const onDisk = (path: string) => Buffer.concat([Buffer.from(`${tree}/`), stringToBytes(path)]);
  const visit = (path: ByteString) => {
    const names = readdirSync(onDisk(path), { encoding: 'latin1' }).sort();
    for (const name of names) {
      const below = path === '' ? name : `${path}/${name}`;
      const status = lstatSync(onDisk(below));
      const kind = status.isFile() ? 'file' : status.isDirectory() ? 'directory' : 'other';
      found.push({ path: below, kind, size: status.size, stored: status.blocks * 512 });
      if (kind === 'directory') visit(below);
    }
  };
  visit('');
  return found;
}

/** At most PATHS_MAX of them, from all over the tree. */
function spread(found: readonly Found[]): Found[] {
  const step = Math.max(1, found.length / PATHS_MAX);
  return found.filter((_, index) => Math.floor(index / step) !== Math.floor((index - 1) / step));
}

/** The largest files that are not mostly holes, up to LARGE_TOTAL_MAX; the largest of all where none is large. */
function largest(found: readonly Found[]): Found[] {
  const files = found.filter(({ kind, size, stored }) => kind === 'file' && size > 0 && stored >= size * 0.9);
  files.sort((a, b) => b.size - a.size);
  const chosen: Found[] = [];
  let total = 0;
  for (const file of files) {
    if (chosen.length > 0 && (file.size < LARGE_MIN || total + file.size > LARGE_TOTAL_MAX)) continue;
    chosen.push(file);
    total += file.size;
  }
  return chosen;
}
