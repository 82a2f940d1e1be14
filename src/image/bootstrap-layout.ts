// Where every inode of a tree goes in a bootstrap (builder/src/core/v6.rs, bootstrap.rs). Offsets are first counted as if
// the inode area began right after one unused block (so that no nid is 0), then moved behind the tables.

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
  /** Nodes in the order they are written; each once, however many names it has. */
  readonly nodes: Uint32Array;
  /** Names in the tree, the root included. */
  readonly names: number;
  /** Bytes of the inode area, the unused first block included. */
  readonly size: number;

  readonly #tree: FileTree;
  /** By node: its nid within the inode area, 0 for one that is not in the image. */
  readonly #nids: Uint32Array;
  readonly #inos: Uint32Array;
  readonly #nlinks: Uint32Array;
  /** Of directories only. */
  readonly #parents: Uint32Array;

  /** Places every inode of the tree below `root`. */
  constructor(tree: FileTree, root: NodeId) {
    this.#tree = tree;
    this.#nids = new Uint32Array(tree.nodeLimit);
    this.#inos = new Uint32Array(tree.nodeLimit);
    this.#nlinks = new Uint32Array(tree.nodeLimit);
    this.#parents = new Uint32Array(tree.nodeLimit);
    const nodes = new Uint32Array(tree.nodeLimit);
    let placed = 0;
    let end = BLOCK_SIZE;
    let names = 1;
    let lastIno = 1;

    const put = (node: NodeId, spot: Spot) => {
      nodes[placed++] = node;
      this.#nids[node] = spot.offset / SLOT_SIZE;
      end = spot.end;
    };

    this.#inos[root] = 1;
    this.#parents[root] = root;
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
        if (this.#nids[child] !== 0) {
          this.#nlinks[child] = this.nlink(child) + 1;
          continue;
        }
        this.#inos[child] = ++lastIno;
        if (tree.isDirectory(child)) {
          nlink++;
          this.#parents[child] = directory;
          subdirectories.push(child);
        } else {
          this.#nlinks[child] = 1;
          put(child, placeLeaf(tree, child, end));
        }
      }
      this.#nlinks[directory] = nlink;
      for (const subdirectory of subdirectories.reverse()) pending.push(subdirectory);
    }
    this.nodes = nodes.subarray(0, placed);
    this.names = names;
    this.size = end;
  }

  nid(node: NodeId): number {
    return this.#nids[node] as number;
  }

  ino(node: NodeId): number {
    return this.#inos[node] as number;
  }

  nlink(node: NodeId): number {
    return this.#nlinks[node] as number;
  }

  parent(directory: NodeId): NodeId {
    return this.#parents[directory] as number;
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
