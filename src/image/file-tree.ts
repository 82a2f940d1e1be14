// A file tree as it is built from layers: directories map names to nodes, and two names of one node are a hard link. Trees
// have up to millions of nodes, so there is no object for any of them: a node is a number, and what it has is in columns.
import { assert } from '../base/assert.ts';
import type { ByteString } from '../base/bytes.ts';
import { ByteArena, Column } from '../base/columns.ts';
import { NameTable } from './name-table.ts';
import { OwnerStore } from './owner-store.ts';
import { type Attributes, type ChunkRef, IMPLIED_DIRECTORY, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from './tree.ts';
import type { TreeMemory } from './tree-memory.ts';
import { XattrStore } from './xattr-area.ts';

/** A node of a FileTree; never 0. */
export type NodeId = number & { readonly __nodeId?: true };
/** A name in one directory of a FileTree; never 0. */
export type NameId = number & { readonly __nameId?: true };

/**
 * `special` is a fifo, socket, character or block device, by the type bits of the mode. A `link` stands for a file of the
 * layers below, until its layer is laid over them.
 */
export type NodeKind = 'directory' | 'file' | 'symlink' | 'special' | 'link';

/** `link` is no type of file systems: its mode has no type bits. */
const MODE_LINK = 0;
const LINK_ATTRIBUTES: Attributes = { ...IMPLIED_DIRECTORY, mode: MODE_LINK };

/** The two names that every directory has in the end. */
export const DOT: NameId = 1;
export const DOT_DOT: NameId = 2;

const EXPLICIT = 1;
const OPAQUE = 2;

/** Holds the nodes of all layers of an image: laying one over another moves names, and copies nothing. */
export class FileTree {
  /** Where what belongs to the tree is kept; undefined for memory without a bound. */
  readonly memory: TreeMemory | undefined;
  readonly #chunkSize: number;
  readonly #arena: ByteArena;
  readonly #names: NameTable;
  readonly #owners: OwnerStore;
  readonly #owner: Column<Uint32Array>;
  readonly #mtimeSec: Column<Float64Array>;
  readonly #mtimeNsec: Column<Uint32Array>;
  /** Bytes of a file or of a link's target; of a directory, the node that has its whiteouts as names. */
  readonly #size: Column<Float64Array>;
  /** Of a file its chunk, or where its chunks start when it has several; of a link where its target is, of a device its number, of a directory its last name. */
  readonly #detail: Column<Uint32Array>;
  readonly #marks: Column<Uint8Array>;
  readonly #chunks: Column<Uint32Array>;
  #nodeCount = 0;
  #chunkCount = 0;

  /** `chunkSize` in bytes: a file has one chunk for each. What the tree has is in `memory`, where that is given. */
  constructor(chunkSize: number, memory?: TreeMemory) {
    this.#chunkSize = chunkSize;
    this.memory = memory;
    const pool = memory?.columns;
    this.#arena = new ByteArena(memory?.runs);
    this.#names = new NameTable(this.#arena, pool);
    this.#owners = new OwnerStore(new XattrStore(this.#arena, pool), pool);
    this.#owner = new Column(Uint32Array, pool);
    this.#mtimeSec = new Column(Float64Array, pool);
    this.#mtimeNsec = new Column(Uint32Array, pool);
    this.#size = new Column(Float64Array, pool);
    this.#detail = new Column(Uint32Array, pool);
    this.#marks = new Column(Uint8Array, pool);
    this.#chunks = new Column(Uint32Array, pool);
    const dots = [this.#names.add(0, '.'), this.#names.add(0, '..')];
    assert(dots[0] === DOT && dots[1] === DOT_DOT, 'the dots are the first names');
  }

  get chunkSize(): number {
    return this.#chunkSize;
  }

  /** One more than the largest node. */
  get nodeLimit(): number {
    return this.#nodeCount + 1;
  }

  addDirectory(attributes: Attributes): NodeId {
    return this.#add(attributes, 0, 0);
  }

  /** `chunks` has all chunks of the file, in order. */
  addFile(attributes: Attributes, size: number, chunks: readonly ChunkRef[]): NodeId {
    assert(chunks.length === Math.ceil(size / this.#chunkSize), 'a file has one chunk per chunk size');
    if (chunks.length <= 1) return this.#add(attributes, size, chunks[0] ?? 0);
    const first = this.#chunkCount;
    for (const chunk of chunks) this.#chunks.set(this.#chunkCount++, chunk);
    return this.#add(attributes, size, first);
  }

  addSymlink(attributes: Attributes, target: ByteString): NodeId {
    return this.#add(attributes, target.length, this.#arena.add(target));
  }

  /** `rdev` as makeDevice has it; 0 for fifos and sockets. */
  addSpecial(attributes: Attributes, rdev: number): NodeId {
    return this.#add(attributes, 0, rdev);
  }

  /** A link to the file at `path`, components from the root. */
  addLink(path: readonly ByteString[]): NodeId {
    const target = path.join('/');
    return this.#add(LINK_ATTRIBUTES, target.length, this.#arena.add(target));
  }

  kind(node: NodeId): NodeKind {
    switch (this.mode(node) & S_IFMT) {
      case S_IFDIR:
        return 'directory';
      case S_IFREG:
        return 'file';
      case S_IFLNK:
        return 'symlink';
      case MODE_LINK:
        return 'link';
      default:
        return 'special';
    }
  }

  isDirectory(node: NodeId | undefined): node is NodeId {
    return node !== undefined && (this.mode(node) & S_IFMT) === S_IFDIR;
  }

  mode(node: NodeId): number {
    return this.#owners.mode(this.#owner.get(node));
  }

  uid(node: NodeId): number {
    return this.#owners.uid(this.#owner.get(node));
  }

  gid(node: NodeId): number {
    return this.#owners.gid(this.#owner.get(node));
  }

  mtimeSec(node: NodeId): number {
    return this.#mtimeSec.get(node);
  }

  mtimeNsec(node: NodeId): number {
    return this.#mtimeNsec.get(node);
  }

  /** Its extended attributes as they lie behind an inode; empty without any. Do not keep the view while nodes are added. */
  xattrArea(node: NodeId): Uint8Array {
    return this.#owners.xattrArea(this.#owner.get(node));
  }

  /** Bytes of a file or of a link's target. */
  size(node: NodeId): number {
    return this.#size.get(node);
  }

  chunkCount(file: NodeId): number {
    return Math.ceil(this.#size.get(file) / this.#chunkSize);
  }

  chunk(file: NodeId, position: number): ChunkRef {
    const detail = this.#detail.get(file);
    return this.size(file) <= this.#chunkSize ? detail : this.#chunks.get(detail + position);
  }

  /** Of a symlink the bytes it holds, of a link the path from the root. */
  target(link: NodeId): ByteString {
    return this.#arena.text(this.#detail.get(link), this.#size.get(link));
  }

  rdev(special: NodeId): number {
    return this.#detail.get(special);
  }

  setAttributes(node: NodeId, attributes: Attributes): void {
    this.#owner.set(node, this.#owners.add(attributes));
    this.#mtimeSec.set(node, attributes.mtimeSec);
    this.#mtimeNsec.set(node, attributes.mtimeNsec);
  }

  copyAttributes(from: NodeId, to: NodeId): void {
    this.#owner.set(to, this.#owner.get(from));
    this.#mtimeSec.set(to, this.#mtimeSec.get(from));
    this.#mtimeNsec.set(to, this.#mtimeNsec.get(from));
  }

  /** False when only entries below the directory were in the archive: an existing one keeps its attributes. */
  explicit(directory: NodeId): boolean {
    return (this.#marks.get(directory) & EXPLICIT) !== 0;
  }

  markExplicit(directory: NodeId): void {
    this.#marks.set(directory, this.#marks.get(directory) | EXPLICIT);
  }

  /** Whether the directory of a layer hides all that the layers below have in it. */
  opaque(directory: NodeId): boolean {
    return (this.#marks.get(directory) & OPAQUE) !== 0;
  }

  markOpaque(directory: NodeId): void {
    this.#marks.set(directory, this.#marks.get(directory) | OPAQUE);
  }

  /** Names that the directory of a layer removes from the layers below, whatever the order of entries in the archive. */
  *whiteouts(directory: NodeId): Iterable<ByteString> {
    const whiteouts = this.#size.get(directory);
    if (whiteouts !== 0) for (const name of this.names(whiteouts)) yield this.nameText(name);
  }

  addWhiteout(directory: NodeId, name: ByteString): void {
    if (this.#size.get(directory) === 0) this.#size.set(directory, this.addDirectory(IMPLIED_DIRECTORY));
    this.setChild(this.#size.get(directory), name, directory);
  }

  child(directory: NodeId, name: ByteString): NodeId | undefined {
    const found = this.#names.find(directory, name);
    return found === 0 ? undefined : this.#names.node(found) || undefined;
  }

  setChild(directory: NodeId, name: ByteString, node: NodeId): void {
    const found = this.#names.find(directory, name) || this.#append(directory, name);
    this.#names.setNode(found, node);
  }

  removeChild(directory: NodeId, name: ByteString): void {
    const found = this.#names.find(directory, name);
    if (found !== 0) this.#names.setNode(found, 0);
  }

  removeChildren(directory: NodeId): void {
    for (const name of this.names(directory)) this.#names.setNode(name, 0);
  }

  /** Names in the directory, in the order in which they were first set. The node of one may be changed meanwhile. */
  *names(directory: NodeId): Iterable<NameId> {
    for (const name of this.#ring(directory)) if (this.#names.node(name) !== 0) yield name;
  }

  nameText(name: NameId): ByteString {
    return this.#names.text(name);
  }

  /** Bytes of the name. */
  nameSize(name: NameId): number {
    return this.#names.size(name);
  }

  copyName(name: NameId, to: Uint8Array, toOffset: number): void {
    this.#names.copy(name, to, toOffset);
  }

  /** The node that a name stands for; none for the dots, which are every directory's. */
  nameNode(name: NameId): NodeId {
    return this.#names.node(name);
  }

  /** Names of a directory as they are stored: its children, `.` and `..`, in byte order. */
  storedNames(directory: NodeId): Uint32Array {
    this.#sortRing(directory);
    const names = Uint32Array.from([DOT, DOT_DOT, ...this.names(directory)]);
    this.#sort(names);
    return names;
  }

  /** Puts the list of names in byte order, so that it need not be sorted again. */
  #sortRing(directory: NodeId): void {
    const names = Uint32Array.from(this.#ring(directory));
    if (!this.#sort(names)) return;
    let last = names[names.length - 1] as number;
    this.#detail.set(directory, last);
    for (const name of names) {
      this.#names.setNext(last, name);
      last = name;
    }
  }

  /** Sorts in byte order; false when `names` were sorted. */
  #sort(names: Uint32Array): boolean {
    const compare = (a: number, b: number) => this.#names.compare(a, b);
    if (names.every((name, index) => index === 0 || compare(names[index - 1] as number, name) < 0)) return false;
    names.sort(compare);
    return true;
  }

  /** All names the directory ever had. */
  *#ring(directory: NodeId): Iterable<NameId> {
    const last = this.#detail.get(directory);
    if (last === 0) return;
    let name = last;
    do {
      name = this.#names.next(name);
      yield name;
    } while (name !== last);
  }

  /** The list of names is a ring, and its directory knows the last. */
  #append(directory: NodeId, text: ByteString): NameId {
    const name = this.#names.add(directory, text);
    const last = this.#detail.get(directory);
    this.#names.setNext(name, last === 0 ? name : this.#names.next(last));
    if (last !== 0) this.#names.setNext(last, name);
    this.#detail.set(directory, name);
    return name;
  }

  #add(attributes: Attributes, size: number, detail: number): NodeId {
    const node = ++this.#nodeCount;
    this.setAttributes(node, attributes);
    this.#size.set(node, size);
    this.#detail.set(node, detail);
    this.#marks.set(node, 0);
    return node;
  }
}
