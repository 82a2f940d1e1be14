// Where every inode of a tree goes in a bootstrap (builder/src/core/v6.rs, bootstrap.rs). Offsets are first counted as if
// the inode area began right after one unused block (so that no nid is 0), then moved behind the tables.

import { assert } from '../base/assert.ts';
import { type ByteString, compareBytes } from '../base/bytes.ts';
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
  splitXattrName,
  xattrEntry,
  xattrHeader,
} from '../format/erofs/records.ts';
import type { DirectoryNode, Node, Xattr } from './tree.ts';

export interface Placement {
  readonly node: Node;
  /** From the start of the inode area. */
  readonly offset: number;
  readonly ino: number;
  readonly layout: number;
  /** Bytes of directory entries or link target. */
  readonly dataSize: number;
  /** Where the full blocks of that data start, from the start of the inode area. */
  readonly dataOffset: number;
  readonly xattrSize: number;
  readonly parent: DirectoryNode;
  nlink: number;
}

export interface BootstrapLayout {
  /** In the order they are written; one per inode, however many names it has. */
  readonly placements: readonly Placement[];
  readonly byNode: ReadonlyMap<Node, Placement>;
  /** Names in the tree, the root included. */
  readonly names: number;
  /** Bytes of the inode area, the unused first block included. */
  readonly size: number;
}

const INODE_SIZE = extendedInode.size;

/** Places every inode of the tree below `root`. */
export function layOut(root: DirectoryNode): BootstrapLayout {
  const placements: Placement[] = [];
  const byNode = new Map<Node, Placement>();
  let end = BLOCK_SIZE;
  let names = 1;
  let lastIno = 1;
  const inos = new Map<Node, number>([[root, 1]]);

  const put = (node: Node, parent: DirectoryNode, spot: Spot) => {
    const placement: Placement = {
      node,
      parent,
      ino: inos.get(node) ?? 0,
      nlink: node.kind === 'directory' ? 2 : 1,
      ...spot,
    };
    placements.push(placement);
    byNode.set(node, placement);
    end = spot.end;
    return placement;
  };

  // An explicit stack: trees can be deeper than the call stack is.
  const pending: { directory: DirectoryNode; parent: DirectoryNode }[] = [{ directory: root, parent: root }];
  for (let next = pending.pop(); next; next = pending.pop()) {
    const { directory, parent } = next;
    const own = put(directory, parent, placeWithTail(directory, direntsSize(directory), end));
    const subdirectories: { directory: DirectoryNode; parent: DirectoryNode }[] = [];
    for (const [, child] of sortedChildren(directory)) {
      names++;
      const seen = byNode.get(child);
      if (seen) {
        seen.nlink++;
        continue;
      }
      inos.set(child, ++lastIno);
      if (child.kind === 'directory') {
        own.nlink++;
        subdirectories.push({ directory: child, parent: directory });
      } else put(child, directory, placeLeaf(child, end));
    }
    for (const subdirectory of subdirectories.reverse()) pending.push(subdirectory);
  }
  return { placements, byNode, names, size: end };
}

/** Children in byte order, the order of the format. */
export function sortedChildren(directory: DirectoryNode): [ByteString, Node][] {
  return [...directory.children].sort(([a], [b]) => compareBytes(a, b));
}

/** Names of a directory as they are stored: its children, `.` and `..`, in byte order. */
export function storedNames(directory: DirectoryNode): ByteString[] {
  return [...directory.children.keys(), '.', '..'].sort(compareBytes);
}

interface Spot {
  readonly offset: number;
  readonly end: number;
  readonly layout: number;
  readonly dataSize: number;
  readonly dataOffset: number;
  readonly xattrSize: number;
}

function placeLeaf(node: Exclude<Node, DirectoryNode>, at: number): Spot {
  if (node.kind === 'symlink') return placeWithTail(node, node.target.length, at);
  const xattrSize = xattrAreaSize(node.xattrs);
  const headSize = INODE_SIZE + xattrSize;
  const addresses = node.kind === 'file' ? node.chunks.length * chunkAddress.size : 0;
  const size = node.kind === 'file' ? alignUp(headSize, 8) + addresses : headSize;
  const layout = node.kind === 'file' ? LAYOUT_CHUNKED : LAYOUT_PLAIN;
  return { offset: at, end: alignUp(at + size, SLOT_SIZE), layout, dataSize: 0, dataOffset: at, xattrSize };
}

/** Directories and symlinks: full blocks of data apart, the rest behind the inode when both fit one block. */
function placeWithTail(node: Node, dataSize: number, at: number): Spot {
  const xattrSize = xattrAreaSize(node.xattrs);
  const headSize = INODE_SIZE + xattrSize;
  const tail = dataSize % BLOCK_SIZE;
  if (tail !== 0 && headSize + tail <= BLOCK_SIZE) {
    const offset = BLOCK_SIZE - (at % BLOCK_SIZE) < headSize + tail ? alignUp(at, BLOCK_SIZE) : at;
    const inlineEnd = offset + headSize + tail;
    const dataOffset = dataSize === tail ? inlineEnd : alignUp(inlineEnd, BLOCK_SIZE);
    const end = alignUp(dataOffset + dataSize - tail, SLOT_SIZE);
    return { offset, end, layout: LAYOUT_INLINE, dataSize, dataOffset, xattrSize };
  }
  const dataOffset = alignUp(at + headSize, BLOCK_SIZE);
  const end = alignUp(dataOffset + dataSize, BLOCK_SIZE);
  return { offset: at, end, layout: LAYOUT_PLAIN, dataSize, dataOffset, xattrSize };
}

/** A block holds as many entries as fit with their names; an entry never crosses blocks. */
function direntsSize(directory: DirectoryNode): number {
  let size = 0;
  for (const name of storedNames(directory)) size = direntEnd(size, name);
  return size;
}

/** Where directory data ends once an entry of `name` is added to data that ended at `size`. */
export function direntEnd(size: number, name: ByteString): number {
  const need = dirent.size + name.length;
  return ((size % BLOCK_SIZE) + need > BLOCK_SIZE ? alignUp(size, BLOCK_SIZE) : size) + need;
}

/** Bytes of the xattr area behind an inode; 0 without xattrs. */
export function xattrAreaSize(xattrs: readonly Xattr[]): number {
  if (xattrs.length === 0) return 0;
  return xattrs.reduce((size, xattr) => size + xattrEntrySize(xattr), xattrHeader.size);
}

export function xattrEntrySize(xattr: Xattr): number {
  const name = splitXattrName(xattr.name);
  assert(name, `xattr ${xattr.name} has a prefix the format holds`);
  return alignUp(xattrEntry.size + name.suffix.length + xattr.value.length, 4);
}
