// What to fetch before it is read, as chunks in order: the files that an image lists, or all of it.
import { hasCode } from '../base/errors.ts';
import { PREFETCH_FILES_MAX, PREFETCH_WINDOW } from '../base/limits.ts';
import type { ChunkCache } from '../cache/chunk-cache.ts';
import type { Bootstrap, InodeView } from '../image/bootstrap-reader.ts';
import type { ImageChunk } from '../image/trace-chunks.ts';
import { S_IFDIR, S_IFMT, S_IFREG } from '../image/tree.ts';

export interface ListedFs {
  readonly bootstrap: Bootstrap;
  readonly caches: readonly ChunkCache[];
}

/** Entries of the prefetch table, by what they are. They are hints: what fits nothing is left out. */
export function listedInodes({ bootstrap }: ListedFs): { files: InodeView[]; directories: InodeView[] } {
  const files: InodeView[] = [];
  const directories: InodeView[] = [];
  for (const nid of bootstrap.prefetchNids().slice(0, PREFETCH_FILES_MAX)) {
    const inode = inodeAt(bootstrap, nid);
    if (inode && (inode.mode & S_IFMT) === S_IFREG) files.push(inode);
    if (inode && (inode.mode & S_IFMT) === S_IFDIR) directories.push(inode);
  }
  return { files, directories };
}

/** The chunks of files, one file after the other. */
export function* chunksOfFiles(fs: ListedFs, files: Iterable<InodeView>): Generator<ImageChunk> {
  for (const { nid, size } of files) {
    for (let offset = 0; offset < size; offset += PREFETCH_WINDOW) {
      for (const extent of fs.bootstrap.extents(nid, offset, Math.min(PREFETCH_WINDOW, size - offset))) {
        const table = fs.caches[extent.blobIndex]?.device.chunks;
        const end = extent.deviceOffset + extent.size;
        for (let chunk = table?.indexAt(extent.deviceOffset) ?? 0; chunk < (table?.count ?? 0); chunk++) {
          if ((table?.uncompressedOffset(chunk) ?? end) >= end) break;
          yield { device: extent.blobIndex, chunk };
        }
      }
    }
  }
}

/** The regular files below directories, in the order of the tree. */
export function* filesBelow({ bootstrap }: ListedFs, directories: readonly InodeView[]): Generator<InodeView> {
  const left = directories.map(({ nid }) => nid).reverse();
  const seen = new Set<number>();
  for (let nid = left.pop(); nid !== undefined && seen.size < PREFETCH_FILES_MAX; nid = left.pop()) {
    const inode = seen.has(nid) ? undefined : inodeAt(bootstrap, nid);
    seen.add(nid);
    if (!inode) continue;
    if ((inode.mode & S_IFMT) === S_IFREG) yield inode;
    if ((inode.mode & S_IFMT) !== S_IFDIR) continue;
    const entries = bootstrap.readdir(nid).filter(({ name }) => name !== '.' && name !== '..');
    left.push(...entries.map((entry) => entry.nid).reverse());
  }
}

/** All chunks of a blob, in the order in which they are stored. */
export function chunksOfBlob({ caches }: Pick<ListedFs, 'caches'>, blobId: string): ImageChunk[] {
  const device = caches.findIndex((cache) => cache.device.blobId === blobId);
  const count = caches[device]?.device.chunks.count ?? 0;
  return Array.from({ length: count }, (_, chunk) => ({ device, chunk }));
}

/** Every chunk, one blob after the other. */
export function* allChunks({ caches }: ListedFs): Generator<ImageChunk> {
  for (const [device, cache] of caches.entries()) {
    for (let chunk = 0; chunk < cache.device.chunks.count; chunk++) yield { device, chunk };
  }
}

function inodeAt(bootstrap: Bootstrap, nid: number): InodeView | undefined {
  try {
    return bootstrap.inode(nid);
  } catch (error) {
    if (hasCode(error, 'BOOTSTRAP_INVALID')) return undefined;
    throw error;
  }
}
