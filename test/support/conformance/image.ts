// A tree for the conformance suite that no fixture is: a directory of a hundred thousand names, paths as deep as they may be,
// every size around a block and a chunk, and a file beyond 4 GiB. Mostly holes, so it takes seconds.
import {
  chmodSync,
  closeSync,
  copyFileSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { KiB, MiB } from '../../../src/base/units.ts';
import { patterned } from '../blobs.ts';
import { findProgram } from '../requires.ts';

export const MANY_ENTRIES = 100_000;
const DEPTH = 400;
const SIZES = [0, 1, 4095, 4096, 4097, 65_535, 65_537, MiB - 1, MiB, MiB + 1, 3 * MiB + 5];
/** Where the sparse file has bytes: around the ends of what 31 and 32 bits count. */
const ISLANDS = [0, 700 * MiB + 3, 2 ** 31 - 5, 2 ** 32 - 4096, 2 ** 32 + 5000, 2 ** 32 + 9 * MiB + 77];
const ISLAND_SIZE = 5000;

/** Makes the tree in `root`, which is made. Ends with `many`, `sizes`, `large`, `deeper`, `bin` and `empty` in it. */
export function makeConformanceTree(root: string): void {
  for (const name of ['', 'many', 'sizes', 'large', 'bin', 'empty']) mkdirSync(join(root, name));
  for (let index = 0; index < MANY_ENTRIES; index++) {
    const path = join(root, 'many', `${index}-${'n'.repeat(index % 40)}`);
    if (index % 16 === 0) symlinkSync(`${index}`, path);
    else closeSync(openSync(path, 'w'));
  }
  for (const size of SIZES) writeFileSync(join(root, 'sizes', `${size}`), patterned(size, size % 251));
  linkSync(join(root, 'sizes', '4097'), join(root, 'sizes', '4097 by another name'));
  writeLarge(join(root, 'large'));
  let at = root;
  for (let level = 0; level < DEPTH; level++) {
    at = `${at}/deeper`;
    mkdirSync(at);
    writeFileSync(`${at}/name`, `level ${level}`);
  }
  for (const program of ['true', 'echo', 'id']) {
    copyFileSync(realpathSync(findProgram(program) ?? ''), join(root, 'bin', program));
  }
  chmodSync(join(root, 'bin', 'id'), 0o4755);
}

function writeLarge(dir: string): void {
  const sparse = openSync(join(dir, 'sparse'), 'w');
  for (const [index, offset] of ISLANDS.entries()) {
    writeSync(sparse, patterned(ISLAND_SIZE, index), 0, ISLAND_SIZE, offset);
  }
  ftruncateSync(sparse, Math.max(...ISLANDS) + 3 * MiB + 1);
  closeSync(sparse);
  // Every chunk its own, and all compress.
  const text = openSync(join(dir, 'text'), 'w');
  const piece = Buffer.alloc(64 * KiB);
  for (let index = 0; index < 640; index++) writeSync(text, piece.fill(`line ${index} of a file\n`));
  closeSync(text);
}
