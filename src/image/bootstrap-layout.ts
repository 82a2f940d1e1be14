// Where every inode of a tree goes in a bootstrap (builder/src/core/v6.rs, bootstrap.rs). Offsets are first counted as if
// the inode area began right after one unused block (so that no nid is 0), then moved behind the tables.

import { Column } from '../base/columns.ts';
import { alignUp } from '../base/units.ts';
import {
  BLOCK_SIZE,
  chunkAddress,
  dirent,
  extendedInode,
  LAYOUT_CHUNKED,
  LAYOUT_INLINE,
  LAYOUT_PLAIN,
  SLOT_SIZE,
} from '../format/erofs/records.ts';
import { DOT, DOT_DOT, type FileTree, type NodeId } from './file-tree.ts';

/** Where one inode and all that is stored with it lies; offsets from the start of the inode area. */
export interface Spot {
  readonly offset: number;
  readonly end: number;
  readonly layout: number;
  /** Bytes of directory entries or link target. */
  readonly dataSize: number;
  /** Where the full blocks of that data start. */
  readonly dataOffset: number;
}

const INODE_SIZE = extendedInode.size;

export class BootstrapLayout {
  /** Whether any of the nodes has extended attributes. */
  readonly hasXattrs: boolean;
  /** Names in the tree, the root included. */
  readonly names: number;
  /** Bytes of the inode area, the unused first block included. */
  readonly size: number;

  readonly #tree: FileTree;
  readonly #nodes: Column<Uint32Array>;
  /** Nodes in the image; each counts once, however many names it has. */
  readonly nodeCount: number;
  /** By node: its nid within the inode area, 0 for one that is not in the image. */
  readonly #nids: Column<Uint32Array>;
  readonly #inos: Column<Uint32Array>;
  readonly #nlinks: Column<Uint32Array>;
  /** Of directories only. */
  readonly #parents: Column<Uint32Array>;

  /** Places every inode of the tree below `root`. */
  constructor(tree: FileTree, root: NodeId) {
    this.#tree = tree;
    const pool = tree.memory?.columns;
    this.#nodes = new Column(Uint32Array, pool);
    this.#nids = new Column(Uint32Array, pool);
    this.#inos = new Column(Uint32Array, pool);
    this.#nlinks = new Column(Uint32Array, pool);
    this.#parents = new Column(Uint32Array, pool);
    let hasXattrs = false;
    let placed = 0;
    let end = BLOCK_SIZE;
    let names = 1;
    let lastIno = 1;

    const put = (node: NodeId, spot: Spot) => {
      this.#nodes.set(placed++, node);
      this.#nids.set(node, spot.offset / SLOT_SIZE);
      hasXattrs ||= tree.xattrArea(node).length > 0;
      end = spot.end;
    };

    this.#inos.set(root, 1);
    this.#parents.set(root, root);
    // An explicit stack: trees can be deeper than the call stack is.
    const pending = [root];
    for (let directory = pending.pop(); directory !== undefined; directory = pending.pop()) {
      const stored = tree.storedNames(directory);
      put(directory, placeWithTail(tree, directory, direntsSize(tree, stored), end));
      let nlink = 2;
      const subdirectories: NodeId[] = [];
      for (const name of stored) {
        if (name === DOT || name === DOT_DOT) continue;
        const child = tree.nameNode(name);
        names++;
        if (this.nid(child) !== 0) {
          this.#nlinks.set(child, this.nlink(child) + 1);
          continue;
        }
        this.#inos.set(child, ++lastIno);
        if (tree.isDirectory(child)) {
          nlink++;
          this.#parents.set(child, directory);
          subdirectories.push(child);
        } else {
          this.#nlinks.set(child, 1);
          put(child, placeLeaf(tree, child, end));
        }
      }
      this.#nlinks.set(directory, nlink);
      for (const subdirectory of subdirectories.reverse()) pending.push(subdirectory);
    }
    this.nodeCount = placed;
    this.hasXattrs = hasXattrs;
    this.names = names;
    this.size = end;
  }

  /** In the order they are written. */
  *nodes(): Iterable<NodeId> {
    for (let index = 0; index < this.nodeCount; index++) yield this.#nodes.get(index);
  }

  nid(node: NodeId): number {
    return this.#nids.get(node);
  }

  ino(node: NodeId): number {
    return this.#inos.get(node);
  }

  nlink(node: NodeId): number {
    return this.#nlinks.get(node);
  }

  parent(directory: NodeId): NodeId {
    return this.#parents.get(directory);
  }

  /** Of a directory, with the names it has in its entries. */
  directorySpot(directory: NodeId, stored: Uint32Array): Spot {
    const tree = this.#tree;
    return placeWithTail(tree, directory, direntsSize(tree, stored), this.nid(directory) * SLOT_SIZE);
  }

  leafSpot(leaf: NodeId): Spot {
    return placeLeaf(this.#tree, leaf, this.nid(leaf) * SLOT_SIZE);
  }
}

/** The spot of a file, link or device at `at` or soon behind; at `at` itself where it was placed before. */
function placeLeaf(tree: FileTree, leaf: NodeId, at: number): Spot {
  const kind = tree.kind(leaf);
  if (kind === 'symlink') return placeWithTail(tree, leaf, tree.size(leaf), at);
  const headSize = INODE_SIZE + tree.xattrArea(leaf).length;
  const isFile = kind === 'file';
  const size = isFile ? alignUp(headSize, 8) + tree.chunkCount(leaf) * chunkAddress.size : headSize;
  const layout = isFile ? LAYOUT_CHUNKED : LAYOUT_PLAIN;
  return { offset: at, end: alignUp(at + size, SLOT_SIZE), layout, dataSize: 0, dataOffset: at };
}

/** Directories and symlinks: full blocks of data apart, the rest behind the inode when both fit one block. */
function placeWithTail(tree: FileTree, node: NodeId, dataSize: number, at: number): Spot {
  const headSize = INODE_SIZE + tree.xattrArea(node).length;
  const tail = dataSize % BLOCK_SIZE;
  if (tail !== 0 && headSize + tail <= BLOCK_SIZE) {
    const offset = BLOCK_SIZE - (at % BLOCK_SIZE) < headSize + tail ? alignUp(at, BLOCK_SIZE) : at;
    const inlineEnd = offset + headSize + tail;
    const dataOffset = dataSize === tail ? inlineEnd : alignUp(inlineEnd, BLOCK_SIZE);
    const end = alignUp(dataOffset + dataSize - tail, SLOT_SIZE);
    return { offset, end, layout: LAYOUT_INLINE, dataSize, dataOffset };
  }
  const dataOffset = alignUp(at + headSize, BLOCK_SIZE);
  const end = alignUp(dataOffset + dataSize, BLOCK_SIZE);
  return { offset: at, end, layout: LAYOUT_PLAIN, dataSize, dataOffset };
}

/** A block holds as many entries as fit with their names; an entry never crosses blocks. */
function direntsSize(tree: FileTree, stored: Uint32Array): number {
  let size = 0;
  for (const name of stored) size = direntEnd(size, tree.nameSize(name));
  return size;
}

/** Where directory data ends once an entry with a name of `nameSize` bytes is added to data that ended at `size`. */
export function direntEnd(size: number, nameSize: number): number {
  const need = dirent.size + nameSize;
  return ((size % BLOCK_SIZE) + need > BLOCK_SIZE ? alignUp(size, BLOCK_SIZE) : size) + need;
}
