// Layers: a tar stream becomes a tree, the tree a bootstrap. Whatever tar is accepted must give an image that passes check.
import { createHash } from 'node:crypto';
import { NaiadError } from '../../../src/base/errors.ts';
import { digestOf } from '../../../src/codec/codec.ts';
import { LayerBuilder } from '../../../src/convert/layer-builder.ts';
import { finishBlob } from '../../../src/image/blob-writer.ts';
import { planBootstrap } from '../../../src/image/bootstrap-writer.ts';
import { checkBootstrap } from '../../../src/image/check.ts';
import { ChunkTable } from '../../../src/image/chunk-table.ts';
import { FileTree } from '../../../src/image/file-tree.ts';
import type { FileEntry } from '../../../src/image/layer-entry.ts';
import { layOver } from '../../../src/image/overlay.ts';
import { chunkRef, IMPLIED_DIRECTORY } from '../../../src/image/tree.ts';
import { readLayerTar } from '../../../src/tar/read-layer.ts';
import type { FuzzTarget } from '../target.ts';

const CHUNK_SIZE = 4096;
/** Sparse files may be of any size; the fuzzer has other things to do than to read zeros. */
const FILE_SIZE_MAX = 4 * 1024 * 1024;

async function* inPieces(input: Buffer): AsyncIterable<Buffer> {
  // Uneven pieces, so that headers and bodies are cut anywhere.
  for (let at = 0, size = 700; at < input.length; at += size, size = (size * 3) % 1531)
    yield input.subarray(at, at + size);
}

async function storeRaw(file: FileEntry, chunks: ChunkTable): Promise<number[]> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of file.body) {
    size += piece.length;
    if (size > FILE_SIZE_MAX) throw new NaiadError('LIMIT_EXCEEDED', 'too large a file for the fuzzer');
    pieces.push(Uint8Array.from(piece));
  }
  if (size !== file.size) throw new Error(`a body of ${size} bytes for a file of ${file.size}`);
  const bytes = Buffer.concat(pieces);
  const refs: number[] = [];
  for (let at = 0; at < size; at += CHUNK_SIZE) {
    const chunk = bytes.subarray(at, at + CHUNK_SIZE);
    const last = chunks.count - 1;
    const compressedOffset = last < 0 ? 0 : chunks.compressedOffset(last) + chunks.compressedSize(last);
    const place = { compressedOffset, compressedSize: chunk.length, compressed: false, crc32: 0 };
    const device = { uncompressedOffset: chunks.count * CHUNK_SIZE, uncompressedSize: chunk.length };
    refs.push(chunkRef(0, chunks.add({ ...place, ...device }, digestOf('sha256', chunk))));
  }
  return refs;
}

export const layerTarget: FuzzTarget = {
  name: 'layer',
  async run(input) {
    const tree = new FileTree(CHUNK_SIZE);
    const builder = new LayerBuilder({ tree, whiteouts: true });
    const chunks = new ChunkTable();
    for await (const entry of readLayerTar(inPieces(input))) await builder.add(entry, (file) => storeRaw(file, chunks));
    const root = tree.addDirectory(IMPLIED_DIRECTORY);
    layOver(tree, root, builder.root);
    const algorithms = { compressor: 'none', digester: 'sha256' } as const;
    const last = chunks.count - 1;
    const dataSize = last < 0 ? 0 : chunks.compressedOffset(last) + chunks.compressedSize(last);
    const data = { chunks, ...algorithms, dataSize, hash: createHash('sha256') };
    const blobs = chunks.count > 0 ? [finishBlob(data).info] : [];
    const { pieces } = planBootstrap({ tree, root, blobs, ...algorithms });
    const { findings } = checkBootstrap(Uint8Array.from(Buffer.concat([...pieces])));
    if (findings[0]) throw new Error(`the image of an accepted tar is wrong: ${findings[0].message}`);
  },
  dictionary: [
    ...['../', '/', './', '//', '.wh.', '.wh..wh..opq', '\0', '\xff', 'ustar  \0', 'ustar\x0000'],
    ...['27 mtime=1700000000.123456\n', '20 path=a/b/c/d/e/f\n', '30 mtime=-1.5\n', '11 path=\n', '9 uid=-1\n'],
    ...['22 SCHILY.xattr.a.b=c\n', '22 GNU.sparse.major=1\n', '22 GNU.sparse.minor=0\n', '19 size=999999999\n'],
    ...['25 GNU.sparse.realsize=9\n', '99999999999 path=x\n', '0 =\n', '-5 a=b\n', '24 GNU.sparse.name=evil\n'],
    ...['77777777777', '\x80\0\0\0\0\0\0\x7f', '\xff\xff\xff\xff\xff\xff\xff\xff'],
  ],
  mend(input) {
    // A header where a checksum field looks like one: six octal digits, or what a mutation left of them.
    for (let at = 0; at + 512 <= input.length; at += 512) {
      if (input.toString('latin1', at + 257, at + 262) !== 'ustar') continue;
      input.fill(' ', at + 148, at + 156);
      let sum = 0;
      for (let i = at; i < at + 512; i++) sum += input[i] as number;
      input.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1');
    }
  },
  hotspots: (input) => [
    { offset: 0, size: Math.min(512, input.length) },
    { offset: Math.min(512, input.length), size: Math.max(0, Math.min(1536, input.length - 512)) },
  ],
};
