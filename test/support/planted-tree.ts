// Trees as literals: directories map names to nodes, and a node under two names is a hard link.
import type { BlobInfo } from '../../src/image/blob-info.ts';
import { planBootstrap } from '../../src/image/bootstrap-writer.ts';
import { FileTree, type NodeId } from '../../src/image/file-tree.ts';
import { type Attributes, type ChunkRef, IMPLIED_DIRECTORY, S_IFDIR } from '../../src/image/tree.ts';

export interface DirectoryLiteral extends Attributes {
  readonly kind: 'directory';
  readonly children: Map<string, NodeLiteral>;
  /** Of layers only, see FileTree. */
  readonly explicit?: boolean;
  readonly opaque?: boolean;
  readonly whiteouts?: ReadonlySet<string>;
}

export interface FileLiteral extends Attributes {
  readonly kind: 'file';
  readonly size: number;
  readonly chunks: readonly ChunkRef[];
}

export type NodeLiteral =
  | DirectoryLiteral
  | FileLiteral
  | (Attributes & { readonly kind: 'symlink'; readonly target: string })
  | (Attributes & { readonly kind: 'special'; readonly rdev: number })
  | { readonly kind: 'link'; readonly target: readonly string[] };

export function emptyDirectory(mode = 0o755): DirectoryLiteral {
  return { ...IMPLIED_DIRECTORY, kind: 'directory', mode: S_IFDIR | mode, children: new Map() };
}

/** Makes the nodes of `literal` in `tree` and returns its root. */
export function plant(tree: FileTree, literal: DirectoryLiteral): NodeId {
  const planted = new Map<NodeLiteral, NodeId>();
  const make = (node: NodeLiteral): NodeId => {
    switch (node.kind) {
      case 'directory':
        return plantDirectory(node);
      case 'file':
        return tree.addFile(node, node.size, node.chunks);
      case 'symlink':
        return tree.addSymlink(node, node.target);
      case 'special':
        return tree.addSpecial(node, node.rdev);
      case 'link':
        return tree.addLink(node.target);
    }
  };
  const plantDirectory = (directory: DirectoryLiteral): NodeId => {
    const id = tree.addDirectory(directory);
    if (directory.explicit) tree.markExplicit(id);
    if (directory.opaque) tree.markOpaque(id);
    for (const name of directory.whiteouts ?? []) tree.addWhiteout(id, name);
    for (const [name, child] of directory.children) {
      const node = planted.get(child) ?? make(child);
      planted.set(child, node);
      tree.setChild(id, name, node);
    }
    return id;
  };
  return plantDirectory(literal);
}

export interface LiteralBootstrap {
  readonly root: DirectoryLiteral;
  readonly blobs: readonly BlobInfo[];
  readonly chunkSize: number;
  readonly compressor: 'zstd' | 'lz4' | 'none';
  readonly digester: 'blake3' | 'sha256';
  readonly prefetch?: readonly (readonly string[])[];
}

/** The bootstrap of a literal, in one piece. */
export function writeBootstrap({ root, chunkSize, ...options }: LiteralBootstrap): {
  bytes: Uint8Array;
  blobs: readonly BlobInfo[];
} {
  const tree = new FileTree(chunkSize);
  const { pieces, blobs } = planBootstrap({ tree, root: plant(tree, root), ...options });
  return { bytes: Uint8Array.from(Buffer.concat([...pieces])), blobs };
}
