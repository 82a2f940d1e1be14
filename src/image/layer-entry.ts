// What a layer is made of, whatever it was read from: a tar stream or a directory.
import type { ByteString } from '../base/bytes.ts';
import type { Attributes } from './tree.ts';

interface EntryBase {
  /** Components of the path from the root; checked: no empty one, no `.`, `..`, `/` or NUL. Empty for the root itself. */
  readonly path: readonly ByteString[];
  /** With the type bits of the entry's kind in `mode`. */
  readonly attributes: Attributes;
}

export interface FileEntry extends EntryBase {
  readonly kind: 'file';
  /** Size of the file, holes included. */
  readonly size: number;
  /** Exactly `size` bytes in pieces of any length; holes of a sparse file come as zeros. Must be consumed or closed
   *  before the next entry is asked for; a piece is only valid until the next one is asked for. */
  readonly body: AsyncIterable<Uint8Array>;
}

export interface SymlinkEntry extends EntryBase {
  readonly kind: 'symlink';
  readonly target: ByteString;
}

/** Another name for an entry that came before, in this layer or below. */
export interface LinkEntry {
  readonly kind: 'link';
  readonly path: readonly ByteString[];
  readonly target: readonly ByteString[];
}

export interface SpecialEntry extends EntryBase {
  readonly kind: 'special';
  readonly rdev: number;
}

export interface DirectoryEntry extends EntryBase {
  readonly kind: 'directory';
}

export type LayerEntry = FileEntry | SymlinkEntry | LinkEntry | SpecialEntry | DirectoryEntry;
