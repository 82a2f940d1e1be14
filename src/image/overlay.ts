// Laying one layer over the layers below it (OCI image-spec, layer.md; builder/src/merge.rs for the order of passes).
import type { ByteString } from '../base/bytes.ts';
import { displayBytes } from '../base/bytes.ts';
import { NaiadError } from '../base/errors.ts';
import type { ExternalLink, LayerDirectory, LayerNode } from './layer-tree.ts';
import type { DirectoryNode, Node, SymlinkNode } from './tree.ts';

/**
 * Applies `layer` to `root` in place. Nodes of the layer become nodes of the tree; do not use the layer afterwards.
 * @throws NaiadError ARCHIVE_INVALID when a hard link of the layer has no target in it or below.
 */
export function layOver(root: DirectoryNode, layer: LayerDirectory): void {
  const links: { parent: DirectoryNode; name: ByteString; link: ExternalLink }[] = [];
  // Links to the layers below are looked up before anything is removed: a layer may rename a file it then deletes.
  const targets = new Map<ExternalLink, Node | undefined>();
  for (const link of externalLinks(layer)) targets.set(link, find(root, link.target));

  const merge = (ancestors: Ancestors, upper: LayerDirectory) => {
    const lower = ancestors.at(-1) as DirectoryNode;
    if (upper.explicit) copyAttributes(upper, lower);
    if (upper.opaque) lower.children.clear();
    for (const name of upper.whiteouts) lower.children.delete(name);
    for (const [name, node] of upper.children) addChild(ancestors, name, node);
  };
  const addChild = (ancestors: Ancestors, name: ByteString, node: LayerNode) => {
    const parent = ancestors.at(-1) as DirectoryNode;
    if (node.kind === 'link') links.push({ parent, name, link: node });
    else if (node.kind !== 'directory') parent.children.set(name, node);
    else {
      const existing = parent.children.get(name);
      // A path through a directory that the archive does not list goes where the layers below lead it: /lib/x of an
      // upper layer is /usr/lib/x when /lib is a symlink there, as for everybody who unpacks one layer after the other.
      const linked = existing?.kind === 'symlink' && !node.explicit ? follow(ancestors, existing) : undefined;
      if (linked) return merge(linked, node);
      const directory = existing?.kind === 'directory' ? existing : freshDirectory(node);
      parent.children.set(name, directory);
      merge([...ancestors, directory], node);
    }
  };
  merge([root], layer);

  for (const { parent, name, link } of links) {
    const target = targets.get(link) ?? find(root, link.target);
    if (!target || target.kind === 'directory') {
      const path = `/${link.target.map(displayBytes).join('/')}`;
      throw new NaiadError(
        'ARCHIVE_INVALID',
        `hard link ${displayBytes(name)}: its target ${path} ${target ? 'is a directory' : 'is in no layer'}`,
      );
    }
    parent.children.set(name, target);
  }
}

/** Directories from the root down to one. */
type Ancestors = readonly DirectoryNode[];

/** As many as Linux follows in one path. */
const SYMLINKS_MAX = 40;

/** The directory a symlink in the last of `ancestors` leads to; `..` stops at the root. Undefined when it leads to none. */
function follow(ancestors: Ancestors, link: SymlinkNode): Ancestors | undefined {
  let stack = [...ancestors];
  const pending = [link.target];
  for (let links = 0; links < SYMLINKS_MAX; links++) {
    const target = pending.pop();
    if (target === undefined) return stack;
    if (target.startsWith('/')) stack = stack.slice(0, 1);
    const names = target.split('/').filter((name) => name !== '' && name !== '.');
    for (const [index, name] of names.entries()) {
      const child = name === '..' ? undefined : stack.at(-1)?.children.get(name);
      if (name === '..') stack = stack.length > 1 ? stack.slice(0, -1) : stack;
      else if (child?.kind === 'directory') stack.push(child);
      else if (child?.kind === 'symlink') {
        pending.push(names.slice(index + 1).join('/'), child.target);
        break;
      } else return undefined;
    }
  }
  return undefined;
}

/** The node at `path` below `root`, no symlink followed. */
export function find(root: DirectoryNode, path: readonly ByteString[]): Node | undefined {
  let node: Node | undefined = root;
  for (const name of path) {
    if (node?.kind !== 'directory') return undefined;
    node = node.children.get(name);
  }
  return node;
}

function freshDirectory(from: LayerDirectory): DirectoryNode {
  const { mode, uid, gid, mtimeSec, mtimeNsec, xattrs } = from;
  return { kind: 'directory', mode, uid, gid, mtimeSec, mtimeNsec, xattrs, children: new Map() };
}

function copyAttributes(from: LayerDirectory, to: DirectoryNode): void {
  to.mode = from.mode;
  to.uid = from.uid;
  to.gid = from.gid;
  to.mtimeSec = from.mtimeSec;
  to.mtimeNsec = from.mtimeNsec;
  to.xattrs = from.xattrs;
}

function* externalLinks(directory: LayerDirectory): Iterable<ExternalLink> {
  for (const node of directory.children.values()) {
    if (node.kind === 'link') yield node;
    else if (node.kind === 'directory') yield* externalLinks(node);
  }
}
