// Laying one layer over the layers below it (OCI image-spec, layer.md; builder/src/merge.rs for the order of passes).
import type { ByteString } from '../base/bytes.ts';
import { displayBytes } from '../base/bytes.ts';
import { NaiadError } from '../base/errors.ts';
import type { ExternalLink, LayerDirectory, LayerNode } from './layer-tree.ts';
import type { DirectoryNode, Node } from './tree.ts';

/**
 * Applies `layer` to `root` in place. Nodes of the layer become nodes of the tree; do not use the layer afterwards.
 * @throws NaiadError ARCHIVE_INVALID when a hard link of the layer has no target in it or below.
 */
export function layOver(root: DirectoryNode, layer: LayerDirectory): void {
  const links: { parent: DirectoryNode; name: ByteString; link: ExternalLink }[] = [];
  // Links to the layers below are looked up before anything is removed: a layer may rename a file it then deletes.
  const targets = new Map<ExternalLink, Node | undefined>();
  for (const link of externalLinks(layer)) targets.set(link, find(root, link.target));

  const merge = (lower: DirectoryNode, upper: LayerDirectory) => {
    if (upper.explicit) copyAttributes(upper, lower);
    if (upper.opaque) lower.children.clear();
    for (const name of upper.whiteouts) lower.children.delete(name);
    for (const [name, node] of upper.children) addChild(lower, name, node);
  };
  const addChild = (parent: DirectoryNode, name: ByteString, node: LayerNode) => {
    if (node.kind === 'link') links.push({ parent, name, link: node });
    else if (node.kind !== 'directory') parent.children.set(name, node);
    else {
      const existing = parent.children.get(name);
      const directory = existing?.kind === 'directory' ? existing : freshDirectory(node);
      parent.children.set(name, directory);
      merge(directory, node);
    }
  };
  merge(root, layer);

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
