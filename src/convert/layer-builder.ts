// The entries of one layer become its tree. Paths mean what container engines take them to mean: a symlink of the layer in
// the midst of a path is followed inside the image, anything else that is no directory is refused; later entries replace
// earlier ones, except that a directory stays one.
import { type ByteString, displayBytes } from '../base/bytes.ts';
import { NaiadError } from '../base/errors.ts';
import { TREE_DEPTH_MAX, TREE_ENTRIES_MAX } from '../base/limits.ts';
import type { FileTree, NodeId } from '../image/file-tree.ts';
import type { FileEntry, LayerEntry } from '../image/layer-entry.ts';
import { type Attributes, type ChunkRef, IMPLIED_DIRECTORY } from '../image/tree.ts';

export interface LayerBuilderOptions {
  /** Where the nodes of the layer are made. */
  readonly tree: FileTree;
  /** Whether names with `.wh.` in front are OCI whiteouts; in a root directory they are ordinary names. */
  readonly whiteouts: boolean;
}

const WHITEOUT = '.wh.';
/** AUFS kept its own state under names with this prefix; only the opaque marker means something to others. */
const WHITEOUT_META = '.wh..wh.';
const OPAQUE = '.wh..wh..opq';
/** As many symlinks in one path as Linux follows. */
const SYMLINKS_MAX = 40;

export class LayerBuilder {
  readonly root: NodeId;
  /** Files, directories and so on that the layer brings; implied parents included, markers not. */
  entries = 0;
  files = 0;

  readonly #tree: FileTree;
  readonly #whiteouts: boolean;

  constructor({ tree, whiteouts }: LayerBuilderOptions) {
    this.#tree = tree;
    this.#whiteouts = whiteouts;
    this.root = tree.addDirectory(IMPLIED_DIRECTORY);
  }

  /** Adds one entry; `chunksOf` is asked for the chunks of a file that will be kept. */
  async add(entry: LayerEntry, chunksOf: (file: FileEntry) => Promise<readonly ChunkRef[]>): Promise<void> {
    const name = entry.path.at(-1);
    const tree = this.#tree;
    if (name === undefined) {
      if (entry.kind !== 'directory') throw unsafe(entry.path, 'the root of an image is a directory');
      this.#describe(this.root, entry.attributes);
      return;
    }
    if (this.#whiteouts && this.#takeMarker(entry.path, name)) return;
    if (++this.entries > TREE_ENTRIES_MAX) {
      throw new NaiadError('LIMIT_EXCEEDED', `the layer has more than ${TREE_ENTRIES_MAX} entries`);
    }
    const parent = this.#makeParent(entry.path);
    if (entry.kind === 'directory') {
      const existing = tree.child(parent, name);
      const directory = tree.isDirectory(existing) ? existing : this.#addDirectory(parent, name);
      this.#describe(directory, entry.attributes);
    } else if (entry.kind === 'file') {
      this.files++;
      const chunks = entry.size === 0 ? NO_CHUNKS : await chunksOf(entry);
      tree.setChild(parent, name, tree.addFile(entry.attributes, entry.size, chunks));
    } else if (entry.kind === 'link') tree.setChild(parent, name, this.#linkTarget(entry.path, entry.target));
    else if (entry.kind === 'symlink') {
      tree.setChild(parent, name, tree.addSymlink(entry.attributes, entry.target));
    } else tree.setChild(parent, name, tree.addSpecial(entry.attributes, entry.rdev));
  }

  /** True when the entry is a whiteout or other marker, by its name alone. */
  #takeMarker(path: readonly ByteString[], name: ByteString): boolean {
    if (!path.some((component) => component.startsWith(WHITEOUT))) return false;
    if (name === OPAQUE && !path.slice(0, -1).some((component) => component.startsWith(WHITEOUT))) {
      this.#tree.markOpaque(this.#makeParent(path));
      return true;
    }
    if (path.some((component) => component.startsWith(WHITEOUT_META))) return true;
    if (path.slice(0, -1).some((component) => component.startsWith(WHITEOUT))) {
      throw unsafe(path, 'it is below a whiteout');
    }
    const hidden = name.slice(WHITEOUT.length);
    if (hidden === '.' || hidden === '..') throw unsafe(path, 'it would remove a directory from inside');
    if (hidden !== '') this.#tree.addWhiteout(this.#makeParent(path), hidden);
    return true;
  }

  /** The directory an entry goes into, made where no entry has described it. */
  #makeParent(path: readonly ByteString[]): NodeId {
    const parent = this.#walk(path, true);
    if (!this.#tree.isDirectory(parent)) throw unsafe(path, 'it goes through something that is no directory');
    return parent;
  }

  /** The node a hard link shares, or a link to be resolved in the layers below. */
  #linkTarget(path: readonly ByteString[], target: readonly ByteString[]): NodeId {
    const tree = this.#tree;
    const name = target.at(-1);
    const parent = name === undefined ? undefined : this.#walk(target, false);
    const node = name === undefined ? this.root : tree.isDirectory(parent) ? tree.child(parent, name) : undefined;
    if (tree.isDirectory(node)) {
      throw new NaiadError(
        'ARCHIVE_INVALID',
        `hard link ${display(path)}: its target ${display(target)} is a directory`,
      );
    }
    return node ?? tree.addLink(target);
  }

  /**
   * Follows all but the last name of `path`. Missing directories are made or end the walk. A symlink is followed as in a
   * changed root: `..` stops at the root, an absolute target starts there.
   */
  #walk(path: readonly ByteString[], make: boolean): NodeId | undefined {
    const tree = this.#tree;
    const stack: NodeId[] = [this.root];
    const pending = path.slice(0, -1).reverse();
    let symlinks = 0;
    for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
      const directory = stack.at(-1) as NodeId;
      if (name === '..') {
        if (stack.length > 1) stack.pop();
        continue;
      }
      let child = tree.child(directory, name);
      if (child === undefined) {
        if (!make) return undefined;
        child = this.#addDirectory(directory, name);
        this.entries++;
      }
      const kind = tree.kind(child);
      if (kind === 'directory') stack.push(child);
      else if (kind === 'symlink') {
        if (++symlinks > SYMLINKS_MAX) throw unsafe(path, 'it goes through too many symlinks');
        const target = tree.target(child);
        if (target.startsWith('/')) stack.length = 1;
        const names = target.split('/').filter((part) => part !== '' && part !== '.');
        pending.push(...names.reverse());
      } else return child;
      if (stack.length > TREE_DEPTH_MAX) throw unsafe(path, 'it is too deep');
    }
    return stack.at(-1);
  }

  #addDirectory(parent: NodeId, name: ByteString): NodeId {
    const directory = this.#tree.addDirectory(IMPLIED_DIRECTORY);
    this.#tree.setChild(parent, name, directory);
    return directory;
  }

  #describe(directory: NodeId, attributes: Attributes): void {
    this.#tree.setAttributes(directory, attributes);
    this.#tree.markExplicit(directory);
  }
}

const NO_CHUNKS: readonly ChunkRef[] = Object.freeze([]);

function unsafe(path: readonly ByteString[], why: string): NaiadError {
  return new NaiadError('PATH_UNSAFE', `path ${display(path)}: ${why}`);
}

function display(path: readonly ByteString[]): string {
  return `/${path.map(displayBytes).join('/')}`;
}
