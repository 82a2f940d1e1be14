// Laying one layer over the layers below it (OCI image-spec, layer.md; builder/src/merge.rs for the order of passes).
import type { ByteString } from '../base/bytes.ts';
import { displayBytes } from '../base/bytes.ts';
import { NaiadError } from '../base/errors.ts';
import type { FileTree, NodeId } from './file-tree.ts';

/**
 * Lays the layer below `layer` over what is below `root`. Nodes of the layer become nodes of the image; do not use the layer
 * afterwards.
 * @throws NaiadError ARCHIVE_INVALID when a hard link of the layer has no target in it or below.
 */
export function layOver(tree: FileTree, root: NodeId, layer: NodeId): void {
  new Overlay(tree, root).lay(layer);
}

/** Directories from the root down to one. */
type Ancestors = readonly NodeId[];

/** As many as Linux follows in one path. */
const SYMLINKS_MAX = 40;

class Overlay {
  readonly #tree: FileTree;
  readonly #root: NodeId;
  /** What a link meant before anything was removed: a layer may rename a file it then deletes. */
  readonly #targets = new Map<NodeId, NodeId>();
  readonly #links: { readonly parent: NodeId; readonly name: ByteString; readonly link: NodeId }[] = [];

  constructor(tree: FileTree, root: NodeId) {
    this.#tree = tree;
    this.#root = root;
  }

  lay(layer: NodeId): void {
    this.#findTargets(layer);
    this.#merge([this.#root], layer);
    for (const { parent, name, link } of this.#links) this.#resolve(parent, name, link);
  }

  #findTargets(directory: NodeId): void {
    const tree = this.#tree;
    for (const name of tree.names(directory)) {
      const node = tree.nameNode(name);
      const kind = tree.kind(node);
      if (kind === 'link') {
        const target = this.#linked(node);
        if (target !== undefined) this.#targets.set(node, target);
      } else if (kind === 'directory') this.#findTargets(node);
    }
  }

  /** Brings what `upper` of the layer has and says into the last of `ancestors`. */
  #merge(ancestors: Ancestors, upper: NodeId): void {
    const tree = this.#tree;
    const lower = ancestors.at(-1) as NodeId;
    if (tree.explicit(upper)) tree.copyAttributes(upper, lower);
    if (tree.opaque(upper)) tree.removeChildren(lower);
    for (const name of tree.whiteouts(upper)) tree.removeChild(lower, name);
    for (const name of tree.names(upper)) this.#addChild(ancestors, tree.nameText(name), tree.nameNode(name));
  }

  #addChild(ancestors: Ancestors, name: ByteString, node: NodeId): void {
    const tree = this.#tree;
    const parent = ancestors.at(-1) as NodeId;
    const kind = tree.kind(node);
    if (kind === 'link') this.#links.push({ parent, name, link: node });
    else if (kind !== 'directory') tree.setChild(parent, name, node);
    else {
      const existing = tree.child(parent, name);
      // A path through a directory that the archive does not list goes where the layers below lead it: /lib/x of an
      // upper layer is /usr/lib/x when /lib is a symlink there, as for everybody who unpacks one layer after the other.
      const isLink = existing !== undefined && tree.kind(existing) === 'symlink' && !tree.explicit(node);
      const linked = isLink ? this.#follow(ancestors, existing) : undefined;
      if (linked) this.#merge(linked, node);
      else if (tree.isDirectory(existing)) this.#merge([...ancestors, existing], node);
      else {
        tree.setChild(parent, name, node);
        this.#adopt(node);
      }
    }
  }

  /** Makes a directory of the layer one of the image as it is, where there is none to bring it into. */
  #adopt(directory: NodeId): void {
    const tree = this.#tree;
    for (const name of tree.names(directory)) {
      const node = tree.nameNode(name);
      const kind = tree.kind(node);
      if (kind === 'directory') this.#adopt(node);
      else if (kind === 'link') {
        this.#links.push({ parent: directory, name: tree.nameText(name), link: node });
        tree.removeChild(directory, tree.nameText(name));
      }
    }
  }

  #resolve(parent: NodeId, name: ByteString, link: NodeId): void {
    const tree = this.#tree;
    const target = this.#targets.get(link) ?? this.#linked(link);
    if (target === undefined || tree.isDirectory(target)) {
      const path = displayBytes(`/${tree.target(link)}`);
      throw new NaiadError(
        'ARCHIVE_INVALID',
        `hard link ${displayBytes(name)}: its target ${path} ${target ? 'is a directory' : 'is in no layer'}`,
      );
    }
    tree.setChild(parent, name, target);
  }

  #linked(link: NodeId): NodeId | undefined {
    const target = this.#tree.target(link);
    return find(this.#tree, this.#root, target === '' ? [] : target.split('/'));
  }

  /** The directory a symlink in the last of `ancestors` leads to; `..` stops at the root. Undefined when it leads to none. */
  #follow(ancestors: Ancestors, link: NodeId): Ancestors | undefined {
    const tree = this.#tree;
    let stack = [...ancestors];
    const pending = [tree.target(link)];
    for (let links = 0; links < SYMLINKS_MAX; links++) {
      const target = pending.pop();
      if (target === undefined) return stack;
      if (target.startsWith('/')) stack = stack.slice(0, 1);
      const names = target.split('/').filter((name) => name !== '' && name !== '.');
      for (const [index, name] of names.entries()) {
        const child = name === '..' ? undefined : tree.child(stack.at(-1) as NodeId, name);
        if (name === '..') stack = stack.length > 1 ? stack.slice(0, -1) : stack;
        else if (tree.isDirectory(child)) stack.push(child);
        else if (child !== undefined && tree.kind(child) === 'symlink') {
          pending.push(names.slice(index + 1).join('/'), tree.target(child));
          break;
        } else return undefined;
      }
    }
    return undefined;
  }
}

/** The node at `path` below `root`, no symlink followed. */
export function find(tree: FileTree, root: NodeId, path: readonly ByteString[]): NodeId | undefined {
  let node: NodeId | undefined = root;
  for (const name of path) {
    if (!tree.isDirectory(node)) return undefined;
    node = tree.child(node, name);
  }
  return node;
}
