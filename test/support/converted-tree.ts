// A converted image in memory: a tree of texts, one blob, raw chunks. For tests of what reads images.
import { createHash } from 'node:crypto';
import type { BlobReader } from '../../src/backend/blob-reader.ts';
import { digestOf } from '../../src/codec/codec.ts';
import { finishBlob } from '../../src/image/blob-writer.ts';
import { Bootstrap } from '../../src/image/bootstrap-reader.ts';
import { ChunkTable } from '../../src/image/chunk-table.ts';
import { chunkRef, S_IFLNK, S_IFREG } from '../../src/image/tree.ts';
import { type DirectoryLiteral, emptyDirectory, type NodeLiteral, writeBootstrap } from './planted-tree.ts';

/** A name maps to file content, to a symlink (`-> target`), or to a directory. */
export interface Texts {
  readonly [name: string]: string | Texts;
}

export interface ConvertedTree {
  readonly bootstrap: Bootstrap;
  readonly blob: Buffer;
  readonly blobId: string;
  readonly readerOf: (blobId: string) => BlobReader;
}

const CHUNK_SIZE = 4096;
const attributes = { uid: 0, gid: 0, mtimeSec: 1_600_000_000, mtimeNsec: 5, xattrs: [] };

export function convertedTree(texts: Texts): ConvertedTree {
  const chunks = new ChunkTable();
  const data: Buffer[] = [];
  let compressedOffset = 0;
  let uncompressedOffset = 0;
  const store = (bytes: Buffer) => {
    const size = bytes.length;
    const place = { compressedOffset, compressedSize: size, uncompressedOffset, uncompressedSize: size };
    const index = chunks.add({ ...place, compressed: false, crc32: 0 }, digestOf('sha256', bytes));
    data.push(bytes);
    compressedOffset += size;
    uncompressedOffset += Math.ceil(size / CHUNK_SIZE) * CHUNK_SIZE;
    return chunkRef(0, index);
  };
  const node = (value: string | Texts): NodeLiteral => {
    if (typeof value !== 'string') return fill({ ...emptyDirectory(), ...attributes, mode: 0o040755 }, value);
    if (value.startsWith('-> '))
      return { kind: 'symlink', mode: S_IFLNK | 0o777, target: value.slice(3), ...attributes };
    const bytes = Buffer.from(value);
    const count = Math.ceil(bytes.length / CHUNK_SIZE);
    const refs = Array.from({ length: count }, (_, i) => store(bytes.subarray(i * CHUNK_SIZE, (i + 1) * CHUNK_SIZE)));
    return { kind: 'file', mode: S_IFREG | 0o644, size: bytes.length, chunks: refs, ...attributes };
  };
  const fill = (directory: DirectoryLiteral, children: Texts): DirectoryLiteral => {
    for (const [name, value] of Object.entries(children)) directory.children.set(name, node(value));
    return directory;
  };
  const root = fill(emptyDirectory(), texts);
  const hash = createHash('sha256');
  for (const bytes of data) hash.update(bytes);
  const { sections, info } = finishBlob({
    chunks,
    compressor: 'none',
    digester: 'sha256',
    dataSize: compressedOffset,
    hash,
  });
  const blob = Buffer.concat([...data, ...sections]);
  const options = { chunkSize: CHUNK_SIZE, compressor: 'none', digester: 'sha256' } as const;
  const bootstrap = Bootstrap.parse(writeBootstrap({ root, blobs: [info], ...options }).bytes);
  const reader: BlobReader = {
    name: 'memory',
    readAt: async ({ offset, size }) => Uint8Array.from(blob.subarray(offset, offset + size)),
  };
  return { bootstrap, blob, blobId: info.blobId, readerOf: () => reader };
}
