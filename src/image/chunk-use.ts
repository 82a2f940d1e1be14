// Which chunks of which blobs a merged tree uses. A chunk whose bytes an earlier blob holds as well is referred to there:
// blobs are pure functions of their layers, so deduplication across layers happens here, by reference.
import { assert } from '../base/assert.ts';
import { bytesToString } from '../base/bytes.ts';
import { CHUNK_FLAGS, type ChunkRecord } from '../format/rafs/records.ts';
import type { BlobInfo } from './blob-info.ts';
import { blobIndexOf, type ChunkRef, chunkIndexOf, chunkRef, type FileNode } from './tree.ts';

export interface ChunkPlace {
  /** Index in the written blob table. */
  readonly blobIndex: number;
  readonly chunkIndex: number;
  readonly uncompressedOffset: number;
}

export class ChunkUse {
  readonly #blobs: readonly (BlobInfo | undefined)[];
  /** First reference seen of each digest and size. */
  readonly #byContent = new Map<string, ChunkRef>();
  /** Offset in the first file that used it, by canonical reference. */
  readonly #firstFileOffset = new Map<ChunkRef, number>();
  #indexes: Map<number, number> | undefined;

  constructor(blobs: readonly (BlobInfo | undefined)[]) {
    this.#blobs = blobs;
    for (const [blobIndex, blob] of blobs.entries()) {
      for (let index = 0; blob && index < blob.chunks.count; index++) {
        const key = this.#contentKey(blob, index);
        if (!this.#byContent.has(key)) this.#byContent.set(key, chunkRef(blobIndex, index));
      }
    }
  }

  /** Counts the chunks of a file of the tree. All files come before the first question below. */
  addFile(file: FileNode, chunkSize: number): void {
    assert(file.chunks.length === Math.ceil(file.size / chunkSize), 'a file has one chunk per chunk size');
    file.chunks.forEach((ref, position) => {
      const canonical = this.#canonical(ref);
      if (!this.#firstFileOffset.has(canonical)) this.#firstFileOffset.set(canonical, position * chunkSize);
    });
  }

  get usedChunks(): number {
    return this.#firstFileOffset.size;
  }

  /** Blobs with a used chunk, in the order given. */
  usedBlobs(): BlobInfo[] {
    return [...this.#usedIndexes().keys()].map((index) => this.#blob(index));
  }

  locate(ref: ChunkRef): ChunkPlace {
    const canonical = this.#canonical(ref);
    const blobIndex = this.#usedIndexes().get(blobIndexOf(canonical));
    assert(blobIndex !== undefined, 'a located chunk was added');
    const chunkIndex = chunkIndexOf(canonical);
    const { chunks } = this.#blob(blobIndexOf(canonical));
    return { blobIndex, chunkIndex, uncompressedOffset: chunks.uncompressedOffset(chunkIndex) };
  }

  /**
   * The chunk size the kernel is told: when all chunks of a file follow each other on one device, the power of two that
   * covers the file, so that one lookup maps all of it (builder/src/core/node.rs). Every address is stored all the same.
   */
  mappedChunkSize(file: FileNode, chunkSize: number): number {
    if (file.size <= chunkSize) return chunkSize;
    const first = this.locate(file.chunks[0] as ChunkRef);
    const contiguous = file.chunks.every((ref, position) => {
      const place = this.locate(ref);
      return (
        place.blobIndex === first.blobIndex &&
        place.uncompressedOffset === first.uncompressedOffset + position * chunkSize
      );
    });
    const covering = 2 ** Math.ceil(Math.log2(file.size));
    return contiguous && covering <= KERNEL_CHUNK_SIZE_MAX ? covering : chunkSize;
  }

  /** Chunk-table records, by digest and then blob. */
  *sortedRecords(): Iterable<ChunkRecord> {
    const used = [...this.#firstFileOffset.keys()].sort((a, b) => this.#compareDigests(a, b));
    for (const ref of used) {
      const { chunks } = this.#blob(blobIndexOf(ref));
      const place = this.locate(ref);
      const index = place.chunkIndex;
      const crc32 = chunks.crc32(index);
      yield {
        digest: chunks.digest(index),
        blobIndex: place.blobIndex,
        flags: (chunks.compressed(index) ? CHUNK_FLAGS.compressed : 0) | (crc32 === 0 ? 0 : CHUNK_FLAGS.hasCrc32),
        compressedSize: chunks.compressedSize(index),
        uncompressedSize: chunks.uncompressedSize(index),
        compressedOffset: chunks.compressedOffset(index),
        uncompressedOffset: place.uncompressedOffset,
        fileOffset: this.#firstFileOffset.get(ref) as number,
        index,
        crc32,
      };
    }
  }

  #canonical(ref: ChunkRef): ChunkRef {
    const canonical = this.#byContent.get(this.#contentKey(this.#blob(blobIndexOf(ref)), chunkIndexOf(ref)));
    assert(canonical !== undefined, 'a referenced chunk is in its blob');
    return canonical;
  }

  #contentKey(blob: BlobInfo, index: number): string {
    return `${blob.digester[0]}${blob.chunks.uncompressedSize(index)}.${bytesToString(blob.chunks.digest(index))}`;
  }

  #usedIndexes(): Map<number, number> {
    if (!this.#indexes) {
      const used = new Set<number>();
      for (const ref of this.#firstFileOffset.keys()) used.add(blobIndexOf(ref));
      this.#indexes = new Map([...used].sort((a, b) => a - b).map((index, position) => [index, position]));
    }
    return this.#indexes;
  }

  #compareDigests(a: ChunkRef, b: ChunkRef): number {
    const digest = (ref: ChunkRef) => this.#blob(blobIndexOf(ref)).chunks.digest(chunkIndexOf(ref));
    return Buffer.compare(digest(a), digest(b)) || a - b;
  }

  #blob(index: number): BlobInfo {
    const blob = this.#blobs[index];
    assert(blob, `blob ${index} is there`);
    return blob;
  }
}

/** Exponents of the chunk format have five bits above the block size; the kernel takes sizes it can shift. */
const KERNEL_CHUNK_SIZE_MAX = 2 ** 43;
