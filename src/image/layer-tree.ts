// One layer as an archive describes it, before it is laid over the layers below: additions, and what it removes.
import type { ByteString } from '../base/bytes.ts';
import type { DirectoryNode, Node } from './tree.ts';

/** A directory of a layer. Markers never become children. */
export interface LayerDirectory extends Omit<DirectoryNode, 'children'> {
  readonly children: Map<ByteString, LayerNode>;
  /** False when only entries below it were in the archive: an existing directory keeps its attributes. */
  explicit: boolean;
  /** Hides everything that lower layers have below it. */
  opaque: boolean;
  /** Names removed from the layers below (`.wh.NAME`), whatever the order of entries in the archive. */
  readonly whiteouts: Set<ByteString>;
}

/** A hard link whose target is not in this layer; laying it over finds the target below. */
export interface ExternalLink {
  readonly kind: 'link';
  /** Components of the target's path from the root. */
  readonly target: readonly ByteString[];
}

export type LayerNode = LayerDirectory | Exclude<Node, DirectoryNode> | ExternalLink;
