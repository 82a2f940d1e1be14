// Which chunks of which blobs a merged tree uses. A chunk whose bytes an earlier blob holds as well is referred to there:
// blobs are pure functions of their layers, so deduplication across layers happens here, by reference.
import { assert } from '../base/assert.ts';
import { ChunkIndex } from '../chunk/chunk-index.ts';
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
  /** Finds the first chunk of each digest and size, by its reference. */
  readonly #byContent: ChunkIndex;
  /** Per blob and chunk, the offset in the first file that used it; -1 for a chunk no file uses. */
  readonly #firstFileOffset: readonly (Float64Array | undefined)[];
  #usedChunks = 0;
  #indexes: Map<number, number> | undefined;

  constructor(blobs: readonly (BlobInfo | undefined)[]) {
    this.#blobs = blobs;
    this.#firstFileOffset = blobs.map((blob) => blob && new Float64Array(blob.chunks.count).fill(-1));
    this.#byContent = new ChunkIndex({
      digest: (ref) => this.#digest(ref),
      hasContent: (ref, digest, size) => this.#size(ref) === size && Buffer.compare(this.#digest(ref), digest) === 0,
    });
    for (const [blobIndex, blob] of blobs.entries()) {
      for (let index = 0; blob && index < blob.chunks.count; index++) {
        const digest = blob.chunks.digest(index);
        const size = blob.chunks.uncompressedSize(index);
        if (this.#byContent.find(digest, size) === undefined) this.#byContent.add(digest, chunkRef(blobIndex, index));
      }
    }
  }

  /** Counts the chunks of a file of the tree. All files come before the first question below. */
  addFile(file: FileNode, chunkSize: number): void {
    assert(file.chunks.length === Math.ceil(file.size / chunkSize), 'a file has one chunk per chunk size');
    file.chunks.forEach((ref, position) => {
      const canonical = this.#canonical(ref);
      const offsets = this.#firstFileOffset[blobIndexOf(canonical)];
      const index = chunkIndexOf(canonical);
      if (!offsets || offsets[index] !== -1) return;
      offsets[index] = position * chunkSize;
      this.#usedChunks++;
    });
  }

  get usedChunks(): number {
    return this.#usedChunks;
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
    const used = this.#usedRefs().sort((a, b) => Buffer.compare(this.#digest(a), this.#digest(b)) || a - b);
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
        fileOffset: this.#firstFileOffset[blobIndexOf(ref)]?.[index] as number,
        index,
        crc32,
      };
    }
  }

  #canonical(ref: ChunkRef): ChunkRef {
    const canonical = this.#byContent.find(this.#digest(ref), this.#size(ref));
    assert(canonical !== undefined, 'a referenced chunk is in its blob');
    return canonical;
  }

  #digest(ref: ChunkRef): Uint8Array {
    return this.#blob(blobIndexOf(ref)).chunks.digest(chunkIndexOf(ref));
  }

  #size(ref: ChunkRef): number {
    return this.#blob(blobIndexOf(ref)).chunks.uncompressedSize(chunkIndexOf(ref));
  }

  #usedRefs(): ChunkRef[] {
    const refs: ChunkRef[] = [];
    for (const [blobIndex, offsets] of this.#firstFileOffset.entries()) {
      offsets?.forEach((offset, index) => {
        if (offset !== -1) refs.push(chunkRef(blobIndex, index));
      });
    }
    return refs;
  }

  #usedIndexes(): Map<number, number> {
    if (!this.#indexes) {
      const used = [...this.#firstFileOffset.keys()].filter((index) =>
        this.#firstFileOffset[index]?.some((offset) => offset !== -1),
      );
      this.#indexes = new Map(used.map((index, position) => [index, position]));
    }
    return this.#indexes;
  }

  #blob(index: number): BlobInfo {
    const blob = this.#blobs[index];
    assert(blob, `blob ${index} is there`);
    return blob;
  }
}

/** Exponents of the chunk format have five bits above the block size; the kernel takes sizes it can shift. */
const KERNEL_CHUNK_SIZE_MAX = 2 ** 43;
