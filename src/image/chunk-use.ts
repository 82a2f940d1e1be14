// Which chunks of which blobs a merged tree uses. A chunk whose bytes an earlier blob holds as well is referred to there:
// blobs are pure functions of their layers, so deduplication across layers happens here, by reference. Here all chunks of
// all blobs are counted through: a chunk's number is its index plus the chunks of the blobs before.
import { assert } from '../base/assert.ts';
import { Column } from '../base/columns.ts';
import { ChunkIndex } from '../chunk/chunk-index.ts';
import { CHUNK_FLAGS, type ChunkRecord } from '../format/rafs/records.ts';
import type { BlobInfo } from './blob-info.ts';
import { mappedChunkSize } from './blob-table.ts';
import { CHUNK_DIGEST_SIZE } from './chunk-table.ts';
import type { FileTree, NodeId } from './file-tree.ts';
import { blobIndexOf, type ChunkRef, chunkIndexOf } from './tree.ts';

export interface ChunkPlace {
  /** Index in the written blob table. */
  readonly blobIndex: number;
  readonly chunkIndex: number;
  readonly uncompressedOffset: number;
}

export class ChunkUse {
  readonly #tree: FileTree;
  readonly #blobs: readonly (BlobInfo | undefined)[];
  /** The number of each blob's first chunk. */
  readonly #firsts: readonly number[];
  /** By its number, the number of the first chunk that has the same bytes. */
  readonly #canonical: Column<Uint32Array>;
  /** By its number, one more than a chunk's position in the first file that used it; 0 for one that no file uses. */
  readonly #firstPosition: Column<Uint32Array>;
  readonly #count: number;
  #usedChunks = 0;
  #written: { readonly indexes: readonly number[]; readonly blobs: readonly BlobInfo[] } | undefined;

  constructor(tree: FileTree, blobs: readonly (BlobInfo | undefined)[]) {
    this.#tree = tree;
    this.#blobs = blobs;
    let count = 0;
    this.#firsts = blobs.map((blob) => {
      const first = count;
      count += blob?.chunks.count ?? 0;
      return first;
    });
    this.#count = count;
    const pool = tree.memory?.columns;
    this.#firstPosition = new Column(Uint32Array, pool);
    this.#canonical = new Column(Uint32Array, pool);
    const byContent = new ChunkIndex(
      {
        digest: (number) => this.#digest(number),
        hasContent: (number, digest, size) =>
          this.#size(number) === size && Buffer.compare(this.#digest(number), digest) === 0,
      },
      pool,
    );
    const digest = new Uint8Array(CHUNK_DIGEST_SIZE);
    for (let number = 0; number < count; number++) {
      digest.set(this.#digest(number));
      const first = byContent.find(digest, this.#size(number));
      if (first === undefined) byContent.add(digest, number);
      this.#canonical.set(number, first ?? number);
    }
    byContent.release();
  }

  /** Counts the chunks of a file of the tree. All files come before the first question below. */
  addFile(file: NodeId): void {
    const count = this.#tree.chunkCount(file);
    for (let position = 0; position < count; position++) {
      const number = this.#numberOf(this.#tree.chunk(file, position));
      if (this.#firstPosition.get(number) !== 0) continue;
      this.#firstPosition.set(number, position + 1);
      this.#usedChunks++;
    }
  }

  get usedChunks(): number {
    return this.#usedChunks;
  }

  /** Blobs with a used chunk, in the order given. */
  usedBlobs(): readonly BlobInfo[] {
    return this.#used().blobs;
  }

  locate(ref: ChunkRef): ChunkPlace {
    const number = this.#numberOf(ref);
    const { blob, blobIndex, chunkIndex } = this.#at(number);
    const written = this.#used().indexes[blobIndex] as number;
    assert(written >= 0, 'a located chunk was added');
    return { blobIndex: written, chunkIndex, uncompressedOffset: blob.chunks.uncompressedOffset(chunkIndex) };
  }

  /** See blob-table.ts. */
  mappedChunkSize(file: NodeId): number {
    const { chunkSize } = this.#tree;
    return mappedChunkSize({ size: this.#tree.size(file), chunkSize }, (position) => {
      const { blobIndex, uncompressedOffset } = this.locate(this.#tree.chunk(file, position));
      return { blobIndex, deviceOffset: uncompressedOffset };
    });
  }

  /** Chunk-table records, by digest and then blob. */
  *sortedRecords(): Iterable<ChunkRecord> {
    for (const number of this.#sortedNumbers()) {
      const { blob, blobIndex, chunkIndex: index } = this.#at(number);
      const { chunks } = blob;
      const crc32 = chunks.crc32(index);
      yield {
        digest: chunks.digest(index),
        blobIndex: this.#used().indexes[blobIndex] as number,
        flags: (chunks.compressed(index) ? CHUNK_FLAGS.compressed : 0) | (crc32 === 0 ? 0 : CHUNK_FLAGS.hasCrc32),
        compressedSize: chunks.compressedSize(index),
        uncompressedSize: chunks.uncompressedSize(index),
        compressedOffset: chunks.compressedOffset(index),
        uncompressedOffset: chunks.uncompressedOffset(index),
        fileOffset: (this.#firstPosition.get(number) - 1) * this.#tree.chunkSize,
        index,
        crc32,
      };
    }
  }

  #numberOf(ref: ChunkRef): number {
    const number = (this.#firsts[blobIndexOf(ref)] as number) + chunkIndexOf(ref);
    return this.#canonical.get(number);
  }

  #at(number: number): { blob: BlobInfo; blobIndex: number; chunkIndex: number } {
    let blobIndex = 0;
    for (let above = this.#firsts.length; above - blobIndex > 1; ) {
      const middle = (blobIndex + above) >>> 1;
      if ((this.#firsts[middle] as number) <= number) blobIndex = middle;
      else above = middle;
    }
    const blob = this.#blobs[blobIndex];
    assert(blob, `blob ${blobIndex} is there`);
    return { blob, blobIndex, chunkIndex: number - (this.#firsts[blobIndex] as number) };
  }

  #digest(number: number): Uint8Array {
    const { blob, chunkIndex } = this.#at(number);
    return blob.chunks.digest(chunkIndex);
  }

  #size(number: number): number {
    const { blob, chunkIndex } = this.#at(number);
    return blob.chunks.uncompressedSize(chunkIndex);
  }

  /** Used chunks by digest, then number: first dealt out by the beginning of their digests, then sorted in small groups. */
  *#sortedNumbers(): Iterable<number> {
    const groupOf = (number: number) => {
      const digest = this.#digest(number);
      return ((digest[0] as number) << 8) | (digest[1] as number);
    };
    const ends = new Uint32Array(GROUPS);
    for (const number of this.#usedNumbers()) {
      const group = groupOf(number);
      ends[group] = (ends[group] as number) + 1;
    }
    for (let group = 1; group < GROUPS; group++) {
      ends[group] = (ends[group] as number) + (ends[group - 1] as number);
    }
    const starts = Uint32Array.from(ends, (_, group) => (group === 0 ? 0 : (ends[group - 1] as number)));
    const numbers = new Column(Uint32Array, this.#tree.memory?.columns);
    const next = starts.slice();
    for (const number of this.#usedNumbers()) {
      const group = groupOf(number);
      const at = next[group] as number;
      numbers.set(at, number);
      next[group] = at + 1;
    }
    const compare = (a: number, b: number) => Buffer.compare(this.#digest(a), this.#digest(b)) || a - b;
    for (let group = 0; group < GROUPS; group++) {
      const start = starts[group] as number;
      const size = (ends[group] as number) - start;
      if (size > 0) yield* Uint32Array.from({ length: size }, (_, index) => numbers.get(start + index)).sort(compare);
    }
    numbers.release();
  }

  *#usedNumbers(): Iterable<number> {
    for (let number = 0; number < this.#count; number++) if (this.#firstPosition.get(number) !== 0) yield number;
  }

  #used(): { readonly indexes: readonly number[]; readonly blobs: readonly BlobInfo[] } {
    if (!this.#written) {
      const blobs: BlobInfo[] = [];
      const indexes = this.#blobs.map((blob, index) => {
        return blob && this.#isUsed(index, blob) ? blobs.push(blob) - 1 : -1;
      });
      this.#written = { indexes, blobs };
    }
    return this.#written;
  }

  #isUsed(blobIndex: number, { chunks }: BlobInfo): boolean {
    const first = this.#firsts[blobIndex] as number;
    for (let number = first; number < first + chunks.count; number++) {
      if (this.#firstPosition.get(number) !== 0) return true;
    }
    return false;
  }
}

/** As many as two bytes tell apart. */
const GROUPS = 2 ** 16;
