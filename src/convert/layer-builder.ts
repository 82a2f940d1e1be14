// The entries of one layer become its tree. Paths mean what container engines take them to mean: a symlink of the layer in
// the midst of a path is followed inside the image, anything else that is no directory is refused; later entries replace
// earlier ones, except that a directory stays one.
import { type ByteString, displayBytes } from '../base/bytes.ts';
import { NaiadError } from '../base/errors.ts';
import { TREE_DEPTH_MAX, TREE_ENTRIES_MAX } from '../base/limits.ts';
import type { FileEntry, LayerEntry } from '../image/layer-entry.ts';
import type { ExternalLink, LayerDirectory, LayerNode } from '../image/layer-tree.ts';
import { type Attributes, type ChunkRef, emptyDirectory } from '../image/tree.ts';

export interface LayerBuilderOptions {
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
  readonly root: LayerDirectory = freshDirectory(emptyDirectory(), false);
  /** Files, directories and so on that the layer brings; implied parents included, markers not. */
  entries = 0;
  files = 0;

  readonly #options: LayerBuilderOptions;

  constructor(options: LayerBuilderOptions) {
    this.#options = options;
  }

  /** Adds one entry; `chunksOf` is asked for the chunks of a file that will be kept. */
  async add(entry: LayerEntry, chunksOf: (file: FileEntry) => Promise<ChunkRef[]>): Promise<void> {
    const name = entry.path.at(-1);
    if (name === undefined) {
      if (entry.kind !== 'directory') throw unsafe(entry.path, 'the root of an image is a directory');
      setAttributes(this.root, entry.attributes);
      return;
    }
    if (this.#options.whiteouts && this.#takeMarker(entry.path, name)) return;
    if (++this.entries > TREE_ENTRIES_MAX) {
      throw new NaiadError('LIMIT_EXCEEDED', `the layer has more than ${TREE_ENTRIES_MAX} entries`);
    }
    const parent = this.#makeParent(entry.path);
    if (entry.kind === 'directory') {
      const existing = parent.children.get(name);
      if (existing?.kind === 'directory') setAttributes(existing, entry.attributes);
      else put(parent, name, freshDirectory(entry.attributes, true));
    } else if (entry.kind === 'file') {
      this.files++;
      const chunks = entry.size === 0 ? NO_CHUNKS : await chunksOf(entry);
      put(parent, name, { kind: 'file', ...entry.attributes, size: entry.size, chunks });
    } else if (entry.kind === 'link') put(parent, name, this.#linkTarget(entry.path, entry.target));
    else if (entry.kind === 'symlink') {
      put(parent, name, { kind: 'symlink', ...entry.attributes, target: entry.target });
    } else put(parent, name, { kind: 'special', ...entry.attributes, rdev: entry.rdev });
  }

  /** True when the entry is a whiteout or other marker, by its name alone. */
  #takeMarker(path: readonly ByteString[], name: ByteString): boolean {
    if (!path.some((component) => component.startsWith(WHITEOUT))) return false;
    if (name === OPAQUE && !path.slice(0, -1).some((component) => component.startsWith(WHITEOUT))) {
      this.#makeParent(path).opaque = true;
      return true;
    }
    if (path.some((component) => component.startsWith(WHITEOUT_META))) return true;
    if (path.slice(0, -1).some((component) => component.startsWith(WHITEOUT))) {
      throw unsafe(path, 'it is below a whiteout');
    }
    const hidden = name.slice(WHITEOUT.length);
    if (hidden === '.' || hidden === '..') throw unsafe(path, 'it would remove a directory from inside');
    if (hidden !== '') this.#makeParent(path).whiteouts.add(detach(hidden));
    return true;
  }

  /** The directory an entry goes into, made where no entry has described it. */
  #makeParent(path: readonly ByteString[]): LayerDirectory {
    const parent = this.#walk(path, true);
    if (parent?.kind !== 'directory') throw unsafe(path, 'it goes through something that is no directory');
    return parent;
  }

  /** The node a hard link shares, or a link to be resolved in the layers below. */
  #linkTarget(path: readonly ByteString[], target: readonly ByteString[]): Exclude<LayerNode, LayerDirectory> {
    const name = target.at(-1);
    const parent = name === undefined ? undefined : this.#walk(target, false);
    const node = name === undefined ? this.root : parent?.kind === 'directory' ? parent.children.get(name) : undefined;
    if (node?.kind === 'directory') {
      throw new NaiadError(
        'ARCHIVE_INVALID',
        `hard link ${display(path)}: its target ${display(target)} is a directory`,
      );
    }
    return node ?? ({ kind: 'link', target: target.map(detach) } satisfies ExternalLink);
  }

  /**
   * Follows all but the last name of `path`. Missing directories are made or end the walk. A symlink is followed as in a
   * changed root: `..` stops at the root, an absolute target starts there.
   */
  #walk(path: readonly ByteString[], make: boolean): LayerNode | undefined {
    const stack: LayerDirectory[] = [this.root];
    const pending = path.slice(0, -1).reverse();
    let symlinks = 0;
    for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
      const directory = stack.at(-1) as LayerDirectory;
      if (name === '..') {
        if (stack.length > 1) stack.pop();
        continue;
      }
      let child = directory.children.get(name);
      if (!child) {
        if (!make) return undefined;
        child = freshDirectory(emptyDirectory(), false);
        put(directory, name, child);
        this.entries++;
      }
      if (child.kind === 'directory') stack.push(child);
      else if (child.kind === 'symlink') {
        if (++symlinks > SYMLINKS_MAX) throw unsafe(path, 'it goes through too many symlinks');
        if (child.target.startsWith('/')) stack.length = 1;
        const names = child.target.split('/').filter((part) => part !== '' && part !== '.');
        pending.push(...names.reverse());
      } else return child;
      if (stack.length > TREE_DEPTH_MAX) throw unsafe(path, 'it is too deep');
    }
    return stack.at(-1);
  }
}

const NO_CHUNKS: readonly ChunkRef[] = Object.freeze([]);

function put(directory: LayerDirectory, name: ByteString, node: LayerNode): void {
  directory.children.set(directory.children.has(name) ? name : detach(name), node);
}

/** A copy that does not keep the path it was cut from in memory. */
function detach(name: ByteString): ByteString {
  return Buffer.from(name, 'latin1').toString('latin1');
}

function freshDirectory(attributes: Attributes, explicit: boolean): LayerDirectory {
  const { mode, uid, gid, mtimeSec, mtimeNsec, xattrs } = attributes;
  const metadata = { mode, uid, gid, mtimeSec, mtimeNsec, xattrs };
  return { kind: 'directory', ...metadata, children: new Map(), explicit, opaque: false, whiteouts: new Set() };
}

function setAttributes(directory: LayerDirectory, attributes: Attributes): void {
  Object.assign(directory, attributes);
  directory.explicit = true;
}

function unsafe(path: readonly ByteString[], why: string): NaiadError {
  return new NaiadError('PATH_UNSAFE', `path ${display(path)}: ${why}`);
}

function display(path: readonly ByteString[]): string {
  return `/${path.map(displayBytes).join('/')}`;
}
