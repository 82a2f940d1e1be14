// A bootstrap with some of its chunks in another blob. Inodes keep their numbers; what moves are the tables around them, so
// that addresses of blocks are shifted, and the addresses of the chunks themselves. Blobs without a chunk left go.
import { NaiadError } from '../base/errors.ts';
import { BLOBS_MAX, BOOTSTRAP_SIZE_MAX, TREE_ENTRIES_MAX } from '../base/limits.ts';
import { alignUp } from '../base/units.ts';
import {
  BLOCK_BITS,
  BLOCK_SIZE,
  CHUNK_FORMAT_INDEXES,
  chunkAddress,
  compactInode,
  DEVICE_SLOTS_OFFSET,
  deviceSlot,
  extendedInode,
  SUPERBLOCK_OFFSET,
  superblock,
} from '../format/erofs/records.ts';
import {
  BLOB_FEATURES,
  blobEntry,
  CHUNK_FLAGS,
  chunkRecord,
  EXT_SUPERBLOCK_OFFSET,
  extSuperblock,
  SUPER_FLAGS,
} from '../format/rafs/records.ts';
import { viewOf } from '../format/record.ts';
import type { BlobInfo } from './blob-info.ts';
import { blobEntryOf, mappedChunkSize, writeChunkAddress, writeDeviceSlots } from './blob-table.ts';
import type { Bootstrap, ChunkAddress, InodePlace } from './bootstrap-reader.ts';
import type { BlobView } from './bootstrap-tables.ts';
import { BOOTSTRAP_SIZE_MIN } from './bootstrap-writer.ts';
import type { HotPlan } from './hot-blob.ts';
import { S_IFDIR, S_IFMT, S_IFREG } from './tree.ts';

export interface RewrittenBootstrap {
  readonly bytes: Uint8Array;
  /** Ids of the blobs it still has beside the new one, which comes last. */
  readonly keptBlobIds: readonly string[];
  /** Files with a chunk in the new blob. */
  readonly files: number;
}

/**
 * `bootstrap` with the chunks of `moved` (see HotPlan) in `hot`.
 * @throws NaiadError BOOTSTRAP_INVALID, BOOTSTRAP_UNSUPPORTED for an order of tables nobody writes, LIMIT_EXCEEDED
 */
export function rewriteBootstrap(bootstrap: Bootstrap, hot: BlobInfo, moved: HotPlan['moved']): RewrittenBootstrap {
  return new Rewrite(bootstrap, hot, moved).run();
}

class Rewrite {
  readonly #old: Bootstrap;
  readonly #hot: BlobInfo;
  readonly #moved: HotPlan['moved'];
  /** By old index, the new one; undefined for blobs that go. */
  readonly #newIndex: readonly (number | undefined)[];
  readonly #kept: readonly number[];
  /** Offset in the first file that used it, by index in the hot blob. */
  readonly #fileOffsets = new Map<number, number>();
  readonly #keptRecords: number;

  constructor(old: Bootstrap, hot: BlobInfo, moved: HotPlan['moved']) {
    this.#old = old;
    this.#hot = hot;
    this.#moved = moved;
    const used = this.#usedBlobs();
    this.#kept = old.blobs.map(({ blobIndex }) => blobIndex).filter((index) => used.has(index));
    this.#newIndex = old.blobs.map(({ blobIndex }) =>
      used.has(blobIndex) ? this.#kept.indexOf(blobIndex) : undefined,
    );
    if (this.#kept.length + 1 > BLOBS_MAX) {
      throw new NaiadError(
        'LIMIT_EXCEEDED',
        `the image has ${this.#kept.length} blobs, and RAFS v6 holds ${BLOBS_MAX}`,
      );
    }
    this.#keptRecords = this.#readRecords();
  }

  run(): RewrittenBootstrap {
    const { tables, bytes: source } = this.#old;
    const { metaOffset } = tables;
    const metaEnd = this.#metaEnd();
    const blobs = this.#kept.length + 1;
    const nids = this.#old.prefetchNids();
    const blobTableOffset = alignUp(DEVICE_SLOTS_OFFSET + deviceSlot.size * blobs, BLOCK_SIZE);
    const prefetchOffset = blobTableOffset + blobEntry.size * blobs;
    const newMeta = alignUp(prefetchOffset + 4 * nids.length, BLOCK_SIZE);
    const chunkTableOffset = alignUp(newMeta + metaEnd - metaOffset, BLOCK_SIZE);
    // A bootstrap without records leaves them to the blobs' own tables, and a few of them would be taken for all.
    const records = tables.extSuperblock.chunkTableSize === 0 ? 0 : this.#keptRecords + this.#hot.chunks.count;
    const size = Math.max(BOOTSTRAP_SIZE_MIN, alignUp(chunkTableOffset + records * chunkRecord.size, BLOCK_SIZE));
    if (size > BOOTSTRAP_SIZE_MAX) {
      throw new NaiadError(
        'LIMIT_EXCEEDED',
        `the bootstrap would have ${size} bytes, the limit is ${BOOTSTRAP_SIZE_MAX}`,
      );
    }
    const bytes = new Uint8Array(size);
    const view = viewOf(bytes);
    bytes.set(source.subarray(metaOffset, metaEnd), newMeta);
    const files = this.#patchInodes(view, newMeta - metaOffset, metaEnd);
    const prefetch = { prefetchTableOffset: nids.length > 0 ? prefetchOffset : 0, prefetchTableSize: 4 * nids.length };
    this.#writeHead(view, {
      blobTableOffset,
      chunkTableOffset,
      chunkTableSize: records * chunkRecord.size,
      ...prefetch,
    });
    for (const [index, nid] of nids.entries()) view.setUint32(prefetchOffset + 4 * index, nid, true);
    if (records > 0) this.#writeRecords(bytes, chunkTableOffset);
    const keptBlobIds = this.#kept.map((index) => this.#old.blobs[index]?.blobId as string);
    return { bytes, keptBlobIds, files };
  }

  /** Where the part of inodes ends: the tables around it are written anew. */
  #metaEnd(): number {
    const { metaOffset, extSuperblock: ext } = this.#old.tables;
    const tables = [
      { at: ext.blobTableOffset, size: ext.blobTableSize },
      { at: ext.chunkTableOffset, size: ext.chunkTableSize },
      { at: ext.prefetchTableOffset, size: ext.prefetchTableSize },
    ].filter(({ at, size }) => size > 0 && at > metaOffset);
    return Math.min(this.#old.bytes.length, ...tables.map(({ at }) => at));
  }

  #usedBlobs(): ReadonlySet<number> {
    const used = new Set<number>();
    for (const nid of inodesOf(this.#old)) {
      if ((this.#old.inode(nid).mode & S_IFMT) !== S_IFREG) continue;
      for (const { blobIndex, chunkIndex } of this.#old.chunkAddresses(nid)) {
        if (!this.#moved[blobIndex]?.has(chunkIndex)) used.add(blobIndex);
      }
    }
    return used;
  }

  /** Patches what was copied and lies `shift` bytes further now; returns the files that changed. */
  #patchInodes(view: DataView, shift: number, metaEnd: number): number {
    const { metaOffset } = this.#old.tables;
    let files = 0;
    for (const nid of inodesOf(this.#old)) {
      const place = this.#old.place(nid);
      const { blocks, at, bodyAt } = place;
      const apart = blocks.end > blocks.start;
      if (bodyAt > metaEnd || (apart && (blocks.start < metaOffset || blocks.end > metaEnd))) {
        throw new NaiadError('BOOTSTRAP_UNSUPPORTED', `bootstrap: inode ${nid} lies among the tables`);
      }
      const { u } = place.extended ? extendedInode.fields : compactInode.fields;
      if ((place.mode & S_IFMT) !== S_IFREG) {
        if (apart) u.write(view, at + shift, (blocks.start + shift) / BLOCK_SIZE);
        continue;
      }
      const changed = this.#patchFile(view, nid, place, shift);
      if (changed === undefined) continue;
      files++;
      u.write(view, at + shift, CHUNK_FORMAT_INDEXES | (Math.log2(changed) - BLOCK_BITS));
    }
    return files;
  }

  /** The chunk size that the kernel is told now; undefined when all chunks of the file are where they were. */
  #patchFile(view: DataView, nid: number, { bodyAt, size }: InodePlace, shift: number): number | undefined {
    const { chunkSize } = this.#old;
    const first = alignUp(bodyAt, 8) + shift;
    let isMoved = false;
    const addresses = this.#old.chunkAddresses(nid).map((address, position) => {
      const now = this.#moveAddress(address);
      isMoved ||= now.hot;
      writeChunkAddress(view, first + position * chunkAddress.size, now);
      return now;
    });
    return isMoved
      ? mappedChunkSize({ size, chunkSize }, (position) => addresses[position] as ChunkAddress)
      : undefined;
  }

  #moveAddress(address: ChunkAddress): ChunkAddress & { readonly hot: boolean } {
    const chunkIndex = this.#moved[address.blobIndex]?.get(address.chunkIndex);
    if (chunkIndex === undefined) {
      return { ...address, blobIndex: this.#newIndex[address.blobIndex] as number, hot: false };
    }
    const deviceOffset = this.#hot.chunks.uncompressedOffset(chunkIndex);
    return { blobIndex: this.#kept.length, chunkIndex, deviceOffset, hot: true };
  }

  #writeHead(
    view: DataView,
    tables: {
      readonly blobTableOffset: number;
      readonly chunkTableOffset: number;
      readonly chunkTableSize: number;
      readonly prefetchTableOffset: number;
      readonly prefetchTableSize: number;
    },
  ): void {
    const { superblock: sb, extSuperblock: ext } = this.#old.tables;
    const { chunkSize } = this.#old;
    const kept = this.#kept.map((index) => this.#old.blobs[index] as BlobView);
    const blobs = [...kept, this.#hot];
    const blocks = blobs.reduce((sum, { uncompressedSize }) => sum + uncompressedSize / BLOCK_SIZE, 0);
    const metaBlkaddr =
      alignUp(tables.blobTableOffset + blobEntry.size * blobs.length + tables.prefetchTableSize, BLOCK_SIZE) /
      BLOCK_SIZE;
    superblock.write(view, SUPERBLOCK_OFFSET, {
      ...sb,
      ...{ blocks: Math.min(blocks, 0xffff_ffff), metaBlkaddr, extraDevices: blobs.length },
    });
    const inlined = blobs.every(({ features }) => (features & BLOB_FEATURES.inlinedChunkDigest) !== 0);
    const flags = (ext.flags & ~SUPER_FLAGS.inlinedChunkDigest) | (inlined ? SUPER_FLAGS.inlinedChunkDigest : 0n);
    const blobTableSize = blobEntry.size * blobs.length;
    extSuperblock.write(view, EXT_SUPERBLOCK_OFFSET, { flags, chunkSize, blobTableSize, ...tables });
    writeDeviceSlots(view, blobs, view.byteLength);
    const source = viewOf(this.#old.bytes);
    for (const [blobIndex, old] of this.#kept.entries()) {
      const entry = blobEntry.read(source, ext.blobTableOffset + old * blobEntry.size);
      blobEntry.write(view, tables.blobTableOffset + blobIndex * blobEntry.size, { ...entry, blobIndex });
    }
    const blobIndex = this.#kept.length;
    const hotAt = tables.blobTableOffset + blobIndex * blobEntry.size;
    blobEntry.write(view, hotAt, blobEntryOf(this.#hot, { blobIndex, chunkSize }));
  }

  /** Counts the records that stay, and notes what those that go say of their files. */
  #readRecords(): number {
    const view = viewOf(this.#old.bytes);
    let kept = 0;
    for (const at of this.#recordOffsets()) {
      const { blobIndex, index, fileOffset } = chunkRecord.fields;
      const blob = blobIndex.read(view, at);
      const hot = this.#moved[blob]?.get(index.read(view, at));
      if (hot === undefined) kept += this.#newIndex[blob] === undefined ? 0 : 1;
      else if (!this.#fileOffsets.has(hot)) this.#fileOffsets.set(hot, fileOffset.read(view, at));
    }
    return kept;
  }

  *#recordOffsets(): Iterable<number> {
    const { chunkTableOffset, chunkTableSize } = this.#old.tables.extSuperblock;
    for (let at = chunkTableOffset; at < chunkTableOffset + chunkTableSize; at += chunkRecord.size) yield at;
  }

  /** Those that stay in their order, the new ones among them by digest. */
  #writeRecords(bytes: Uint8Array, from: number): void {
    const { chunks } = this.#hot;
    const source = this.#old.bytes;
    const view = viewOf(bytes);
    const oldView = viewOf(source);
    const byDigest = Array.from({ length: chunks.count }, (_, index) => index);
    byDigest.sort((a, b) => Buffer.compare(chunks.digest(a), chunks.digest(b)));
    let next = 0;
    let to = from;
    const writeHot = () => {
      const index = byDigest[next++] as number;
      chunkRecord.write(view, to, this.#hotRecord(index));
      to += chunkRecord.size;
    };
    for (const at of this.#recordOffsets()) {
      const { blobIndex, index, digest } = chunkRecord.fields;
      const blob = blobIndex.read(oldView, at);
      const now = this.#newIndex[blob];
      if (now === undefined || this.#moved[blob]?.has(index.read(oldView, at))) continue;
      const own = digest.read(oldView, at);
      while (next < byDigest.length && Buffer.compare(chunks.digest(byDigest[next] as number), own) < 0) writeHot();
      bytes.set(source.subarray(at, at + chunkRecord.size), to);
      blobIndex.write(view, to, now);
      to += chunkRecord.size;
    }
    while (next < byDigest.length) writeHot();
  }

  #hotRecord(index: number) {
    const { chunks } = this.#hot;
    const crc32 = chunks.crc32(index);
    return {
      digest: chunks.digest(index),
      blobIndex: this.#kept.length,
      flags: (chunks.compressed(index) ? CHUNK_FLAGS.compressed : 0) | (crc32 === 0 ? 0 : CHUNK_FLAGS.hasCrc32),
      compressedSize: chunks.compressedSize(index),
      uncompressedSize: chunks.uncompressedSize(index),
      compressedOffset: chunks.compressedOffset(index),
      uncompressedOffset: chunks.uncompressedOffset(index),
      fileOffset: this.#fileOffsets.get(index) ?? 0,
      index,
      crc32,
    };
  }
}

/** Every inode once, however often it is named. */
function* inodesOf(bootstrap: Bootstrap): Iterable<number> {
  const seen = new Set([bootstrap.rootNid]);
  const pending = [bootstrap.rootNid];
  for (let nid = pending.pop(); nid !== undefined; nid = pending.pop()) {
    yield nid;
    if ((bootstrap.inode(nid).mode & S_IFMT) !== S_IFDIR) continue;
    for (const entry of bootstrap.readdir(nid)) {
      if (seen.has(entry.nid)) continue;
      seen.add(entry.nid);
      pending.push(entry.nid);
    }
    if (seen.size > TREE_ENTRIES_MAX) throw new NaiadError('BOOTSTRAP_INVALID', `more than ${TREE_ENTRIES_MAX} inodes`);
  }
}
