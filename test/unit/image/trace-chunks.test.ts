import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { hasCode } from '../../../src/base/errors.ts';
import { digestOf } from '../../../src/codec/codec.ts';
import { formatTrace, parseTraceFile, type Touch } from '../../../src/format/trace/trace.ts';
import { finishBlob } from '../../../src/image/blob-writer.ts';
import { Bootstrap } from '../../../src/image/bootstrap-reader.ts';
import { ChunkTable } from '../../../src/image/chunk-table.ts';
import { matchTrace, type TracedImage } from '../../../src/image/trace-chunks.ts';
import { type ChunkRef, chunkRef } from '../../../src/image/tree.ts';
import { describeApplied, missingLines } from '../../../src/trace/applied-text.ts';
import { emptyDirectory, writeBootstrap } from '../../support/planted-tree.ts';

const CHUNK_SIZE = 4096;
const STORED_SIZE = 10;

/** An image of one device; every letter of a file is a chunk filled with it, stored once however often it is named. */
function imageOf(files: Readonly<Record<string, string>>): TracedImage {
  const chunks = new ChunkTable();
  const known = new Map<string, ChunkRef>();
  const root = emptyDirectory();
  for (const [path, letters] of Object.entries(files)) {
    const names = path.split('/');
    let directory = root;
    for (const name of names.slice(0, -1)) {
      const next = directory.children.get(name) ?? emptyDirectory();
      directory.children.set(name, next);
      directory = next as typeof root;
    }
    const refs = [...letters].map((letter) => {
      const index = chunks.count;
      const ref = known.get(letter) ?? chunkRef(0, index);
      if (known.has(letter)) return ref;
      known.set(letter, ref);
      const place = { compressedOffset: index * STORED_SIZE, compressedSize: STORED_SIZE, compressed: true, crc32: 0 };
      const device = { uncompressedOffset: index * CHUNK_SIZE, uncompressedSize: CHUNK_SIZE };
      chunks.add({ ...place, ...device }, digestOf('blake3', Buffer.alloc(CHUNK_SIZE, letter)));
      return ref;
    });
    const attributes = { mode: 0o100644, uid: 0, gid: 0, mtimeSec: 0, mtimeNsec: 0, xattrs: [] };
    const name = names.at(-1) as string;
    directory.children.set(name, { kind: 'file', ...attributes, size: letters.length * CHUNK_SIZE, chunks: refs });
  }
  const dataSize = chunks.count * STORED_SIZE;
  const hash = createHash('sha256');
  const { info } = finishBlob({ chunks, compressor: 'zstd', digester: 'blake3', dataSize, hash });
  const { bytes } = writeBootstrap({
    ...{ root, blobs: [info], chunkSize: CHUNK_SIZE, compressor: 'zstd', digester: 'blake3' },
  });
  const { blobId, uncompressedSize: size } = info;
  return {
    bootstrap: Bootstrap.parse(bytes),
    devices: [{ blobId, size, compressor: 'zstd', digester: 'blake3', chunks }],
  };
}

function touch(path: string, position: number | undefined, letter?: string): Touch {
  const chunk = letter && `blake3:${Buffer.from(digestOf('blake3', Buffer.alloc(CHUNK_SIZE, letter))).toString('hex')}`;
  const range =
    position === undefined ? { offset: 0, size: undefined } : { offset: position * CHUNK_SIZE, size: CHUNK_SIZE };
  return { path, ...range, chunk, atMs: 0, waitMs: 0, runs: 1 };
}

const FILES = { 'bin/app': 'abc', 'bin/tool': 'dab', 'etc/conf': 'e' };

for (const { name, files = FILES, touches, chunks, counts } of [
  {
    name: 'the image it was recorded of: every touch by content, in its order, none twice',
    touches: [touch('/bin/app', 2, 'c'), touch('/bin/app', 0, 'a'), touch('/bin/tool', 1, 'a')],
    chunks: [2, 0],
    counts: [3, 0, 0],
  },
  {
    name: 'a file that moved: found by content',
    touches: [touch('/opt/old', 0, 'e'), touch('', 0, 'd')],
    chunks: [4, 3],
    counts: [2, 0, 0],
  },
  {
    name: 'a file that changed: the same place of it now',
    touches: [touch('/bin/app', 1, 'x')],
    chunks: [1],
    counts: [0, 1, 0],
  },
  {
    name: 'files that are gone, shorter, or something else now',
    touches: [touch('/bin/gone', 0, 'x'), touch('/bin/app', 9, 'y'), touch('/bin', 0, 'z'), touch('/bin/app/x', 0)],
    chunks: [],
    counts: [0, 0, 4],
  },
  {
    name: 'paths: all of a file, all below a directory',
    touches: [touch('/etc/conf', undefined), touch('/bin', undefined), touch('/bin', undefined)],
    chunks: [4, 0, 1, 2, 3],
    counts: [0, 3, 0],
  },
] as { name: string; files?: Record<string, string>; touches: Touch[]; chunks: number[]; counts: number[] }[]) {
  test(`trace in an image: ${name}`, () => {
    const match = matchTrace({ runs: 1, touches }, imageOf(files));
    assert.deepEqual(
      match.chunks,
      chunks.map((chunk) => ({ device: 0, chunk })),
    );
    const { byContent, byPath, missing, bytes, storedBytes } = match.applied;
    assert.deepEqual([byContent, byPath, missing], counts);
    assert.deepEqual([bytes, storedBytes], [chunks.length * CHUNK_SIZE, chunks.length * STORED_SIZE]);
  });
}

test('trace in an image: one that names everything again and again is refused', () => {
  const touches = Array.from({ length: 100 }, () => touch('/big', undefined));
  const image = imageOf({ big: 'a'.repeat(200) });
  assert.equal(matchTrace({ runs: 1, touches }, image).chunks.length, 1);
  assert.throws(
    () => matchTrace({ runs: 1, touches }, image, 20_000),
    (error) => hasCode(error, 'LIMIT_EXCEEDED'),
  );
});

test('trace in an image: how much of it applies, in files and bytes', () => {
  const touches = [
    touch('/bin/app', 0, 'a'),
    touch('/bin/app', 9, 'y'),
    touch('/bin/gone', 0, 'x'),
    touch('/bin/gone', 1, 'y'),
    touch('/opt/old', 0, 'e'),
    touch('/opt/never', 0, 'z'),
    touch('', 0, 'z'),
  ];
  const { applied } = matchTrace({ runs: 1, touches }, imageOf(FILES));
  const { tracedFiles, appliedFiles, tracedBytes, appliedBytes } = applied;
  assert.deepEqual([tracedFiles, appliedFiles], [4, 2]);
  assert.deepEqual([tracedBytes, appliedBytes], [7 * CHUNK_SIZE, 2 * CHUNK_SIZE]);
  assert.deepEqual(applied.missingPaths, ['/bin/gone', '/opt/never']);
  assert.equal(
    describeApplied(applied),
    '2 of 7 touches by content (29 %) apply, 5 do not (71 %): 2 of 4 files, 8.19 kB of 28.7 kB',
  );
  assert.deepEqual(missingLines({ ...applied, tracedFiles: 9 }), [
    '  not there any more: /bin/gone',
    '  not there any more: /opt/never',
    '  … and 5 more files',
  ]);
});

test('trace in an image: survives being written', () => {
  const touches = [touch('/bin/app', 2, 'c'), touch('/bin/tool', undefined)];
  const written = parseTraceFile(formatTrace({ runs: 1, touches }));
  assert.deepEqual(matchTrace(written, imageOf(FILES)), matchTrace({ runs: 1, touches }, imageOf(FILES)));
});
