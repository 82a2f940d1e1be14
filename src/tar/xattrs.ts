// The extended attributes a bootstrap can hold, whatever they were read from.
import { type ByteString, displayBytes } from '../base/bytes.ts';
import { NaiadError } from '../base/errors.ts';
import { NAME_SIZE_MAX, XATTR_VALUE_SIZE_MAX, XATTRS_SIZE_MAX } from '../base/limits.ts';
import type { Xattr } from '../image/tree.ts';

/** What a layer had that a converted image cannot hold, or that nobody reads: counted and reported, never an error. */
export type Skipped =
  | 'an extended attribute outside user., trusted., security. and the POSIX ACLs'
  | 'an ACL in text form (SCHILY.acl)'
  | 'bytes after the end of the archive';
export type OnSkipped = (what: Skipped) => void;

/** Names the format has a prefix number for. */
const STORABLE = /^(?:user\..+|trusted\..+|security\..+|system\.posix_acl_(?:access|default))$/s;
/** Distinct attributes kept for sharing: an image has few, on very many files. */
const SHARED_MAX = 4096;

/** Gathers the attributes of one inode after the other. Equal ones are one object in memory. */
export class XattrCollector {
  readonly #onSkipped: OnSkipped;
  readonly #shared = new Map<string, Xattr>();
  readonly #current = new Map<ByteString, Xattr>();

  constructor(onSkipped: OnSkipped) {
    this.#onSkipped = onSkipped;
  }

  /** Adds an attribute; one of the same name is replaced. @throws NaiadError LIMIT_EXCEEDED */
  add(name: ByteString, value: ByteString): void {
    if (!STORABLE.test(name)) {
      this.#onSkipped('an extended attribute outside user., trusted., security. and the POSIX ACLs');
      return;
    }
    if (name.length > NAME_SIZE_MAX || value.length > XATTR_VALUE_SIZE_MAX) {
      throw new NaiadError(
        'LIMIT_EXCEEDED',
        `extended attribute "${displayBytes(name)}" of ${value.length} bytes: Linux and the format hold names of ${NAME_SIZE_MAX} and values of ${XATTR_VALUE_SIZE_MAX}`,
      );
    }
    const key = `${name}\0${value}`;
    let xattr = this.#shared.get(key);
    if (!xattr) {
      // Copies, so that a few bytes do not keep a whole header in memory.
      xattr = {
        name: Buffer.from(name, 'latin1').toString('latin1'),
        value: Uint8Array.from(Buffer.from(value, 'latin1')),
      };
      if (this.#shared.size < SHARED_MAX && value.length <= NAME_SIZE_MAX) {
        this.#shared.set(Buffer.from(key, 'latin1').toString('latin1'), xattr);
      }
    }
    this.#current.set(xattr.name, xattr);
  }

  /** The attributes added since the last call. @throws NaiadError LIMIT_EXCEEDED */
  take(): readonly Xattr[] {
    if (this.#current.size === 0) return NONE;
    const xattrs = [...this.#current.values()];
    this.#current.clear();
    const size = xattrs.reduce((sum, { name, value }) => sum + name.length + value.length, 0);
    if (size > XATTRS_SIZE_MAX) {
      throw new NaiadError(
        'LIMIT_EXCEEDED',
        `extended attributes of one file have ${size} bytes, at most ${XATTRS_SIZE_MAX}`,
      );
    }
    return xattrs;
  }
}

const NONE: readonly Xattr[] = Object.freeze([]);
