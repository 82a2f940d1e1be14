// The smallest image with everything in it, byte for byte: /d/f = "hello", /l -> d/f, one blob, sha256 digests.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { crc32c } from '@node-rs/crc32';
import { digestOf } from '../../../src/codec/codec.ts';
import { finishBlob } from '../../../src/image/blob-writer.ts';
import { Bootstrap } from '../../../src/image/bootstrap-reader.ts';
import { ChunkTable } from '../../../src/image/chunk-table.ts';
import { chunkRef, S_IFLNK, S_IFREG } from '../../../src/image/tree.ts';
import { type DirectoryLiteral, emptyDirectory, writeBootstrap } from '../../support/planted-tree.ts';

const MTIME = { mtimeSec: 1_700_000_000, mtimeNsec: 0, uid: 0, gid: 0, xattrs: [] };
const hello = Buffer.from('hello');

function exampleTree(): DirectoryLiteral {
  const root = emptyDirectory();
  const d = { ...emptyDirectory(), ...MTIME };
  root.children.set('l', { kind: 'symlink', mode: S_IFLNK | 0o777, target: 'd/f', ...MTIME });
  root.children.set('d', d);
  d.children.set('f', { kind: 'file', mode: S_IFREG | 0o644, size: 5, chunks: [chunkRef(0, 0)], ...MTIME });
  return root;
}

function exampleBlob() {
  const chunks = new ChunkTable();
  const place = { compressedOffset: 0, compressedSize: 5, uncompressedOffset: 0, uncompressedSize: 5 };
  chunks.add({ ...place, compressed: false, crc32: crc32c(hello) }, digestOf('sha256', hello));
  const hash = createHash('sha256').update(hello);
  const { sections, info } = finishBlob({ chunks, compressor: 'zstd', digester: 'sha256', dataSize: 5, hash });
  return { bytes: Buffer.concat([hello, ...sections]), info };
}

function exampleBootstrap() {
  const { info } = exampleBlob();
  const options = { chunkSize: 1024 * 1024, compressor: 'zstd', digester: 'sha256' } as const;
  return writeBootstrap({ root: exampleTree(), blobs: [info], ...options });
}

test('worked example: the blob has its documented digest', () => {
  const { bytes, info } = exampleBlob();
  assert.equal(bytes.length, 6709);
  assert.equal(info.blobId, 'ca9f42e94655eea058807db74c97ea6c50a4e945e05d047cbe4f3b39ab8cf35d');
  assert.equal(createHash('sha256').update(bytes).digest('hex'), info.blobId);
});

test('worked example: the bootstrap has its documented digest', () => {
  const written = exampleBootstrap();
  assert.equal(written.bytes.length, 20480);
  assert.equal(
    createHash('sha256').update(written.bytes).digest('hex'),
    '274f902217acea6221adc4a63f6fdc15c35d5a635643691788d782f3363bb600',
  );
});

test('worked example: reads back', () => {
  const written = exampleBootstrap();
  const bootstrap = Bootstrap.parse(written.bytes);
  const f = bootstrap.resolve(['d', 'f']);
  assert.ok(f);
  assert.deepEqual(bootstrap.inode(f), {
    nid: 139,
    mode: 0o100644,
    uid: 0,
    gid: 0,
    size: 5,
    mtimeSec: 1_700_000_000,
    mtimeNsec: 0,
    nlink: 1,
    rdev: 0,
  });
  assert.deepEqual(bootstrap.chunkAddresses(f), [{ blobIndex: 0, chunkIndex: 0, deviceOffset: 0 }]);
  const link = bootstrap.resolve(['l']);
  assert.equal(link && bootstrap.readlink(link), 'd/f');
  assert.deepEqual(
    bootstrap.readdir(bootstrap.rootNid).map(({ name, nid }) => [name, nid]),
    [
      ['.', 128],
      ['..', 128],
      ['d', 135],
      ['l', 132],
    ],
  );
});
