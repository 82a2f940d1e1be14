// Pages of a tree that come and go must not change a byte of its image.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { ARENA_RUN_MAX, COLUMN_PAGE_SIZE, Column } from '../../../src/base/columns.ts';
import { PagePool } from '../../../src/base/page-pool.ts';
import { finishBlob } from '../../../src/image/blob-writer.ts';
import { planBootstrap } from '../../../src/image/bootstrap-writer.ts';
import { ChunkTable } from '../../../src/image/chunk-table.ts';
import { FileTree } from '../../../src/image/file-tree.ts';
import { layOver } from '../../../src/image/overlay.ts';
import { chunkRef, IMPLIED_DIRECTORY, S_IFREG } from '../../../src/image/tree.ts';
import type { TreeMemory } from '../../../src/image/tree-memory.ts';
import { temporaryDir } from '../../support/temporary.ts';

const DIRECTORIES = 120;
const FILES = 40;
const LAYERS = 2;
const CHUNK_SIZE = 4096;

/** Digest of a blob's tail and a bootstrap, of two layers that hide, repeat and replace some of each other. */
function imageDigest(memory: TreeMemory | undefined): string {
  const hash = createHash('sha256');
  const tree = new FileTree(CHUNK_SIZE, memory);
  const root = tree.addDirectory(IMPLIED_DIRECTORY);
  const blobs = Array.from({ length: LAYERS }, (_, layer) => {
    const chunks = new ChunkTable(memory?.columns);
    const top = tree.addDirectory(IMPLIED_DIRECTORY);
    for (let d = 0; d < DIRECTORIES; d++) {
      const directory = tree.addDirectory(IMPLIED_DIRECTORY);
      tree.setChild(top, `directory ${(d * 7919) % DIRECTORIES}`, directory);
      for (let f = 0; f < FILES; f++) {
        const digest = createHash('sha256')
          .update(`${d} ${f % 40} ${f % 3 === 0 ? layer : 'both'}`)
          .digest();
        const at = chunks.count;
        const stored = { compressedOffset: at * 9, compressedSize: 9, compressed: true, crc32: f };
        const index = chunks.add({ ...stored, uncompressedOffset: at * 4096, uncompressedSize: 100 + d }, digest);
        const xattrs = f % 11 === 0 ? [{ name: 'user.of', value: Buffer.from(`${d} ${'long '.repeat(2000)}`) }] : [];
        const attributes = { mode: S_IFREG | 0o644, uid: f, gid: d, mtimeSec: d * 1e6, mtimeNsec: f, xattrs };
        const name = `${(f * 7919) % 997} ${'file'.repeat(f % 30)}`;
        tree.setChild(directory, name, tree.addFile(attributes, 100 + d, [chunkRef(layer, index)]));
        if (f % 13 === 0) tree.addWhiteout(directory, `${f} of another layer`);
      }
    }
    layOver(tree, root, top);
    const data = { chunks, compressor: 'zstd', digester: 'sha256', dataSize: chunks.count * 9 } as const;
    const { sections, info } = finishBlob({ ...data, hash: createHash('sha256') });
    for (const section of sections) hash.update(section);
    return info;
  });
  for (const piece of planBootstrap({ tree, root, blobs, compressor: 'zstd', digester: 'sha256' }).pieces) {
    hash.update(piece);
  }
  return hash.digest('hex');
}

test('an image is the same with hardly any memory for its tree', () => {
  using scratch = temporaryDir('tree-memory');
  using columns = new PagePool({
    pageSize: COLUMN_PAGE_SIZE,
    sizeMax: 20 * COLUMN_PAGE_SIZE,
    directory: scratch.path,
  });
  using runs = new PagePool({ pageSize: ARENA_RUN_MAX, sizeMax: 5 * ARENA_RUN_MAX, directory: scratch.path });
  const dispose = () => undefined;
  assert.equal(imageDigest({ columns, runs, [Symbol.dispose]: dispose }), imageDigest(undefined));
  assert.ok(columns.evictions > 1000 && runs.evictions > 5, 'the pools were too small');
});

test('a directory that is not there is an error that names it', () => {
  using scratch = temporaryDir('tree-memory');
  const directory = `${scratch.path}/absent`;
  using pool = new PagePool({ pageSize: COLUMN_PAGE_SIZE, sizeMax: 6 * COLUMN_PAGE_SIZE, directory });
  const column = new Column(Uint32Array, pool);
  assert.throws(() => column.set(1_000_000, 1), { code: 'PATH_NOT_FOUND', message: /absent\/pages/ });
});
