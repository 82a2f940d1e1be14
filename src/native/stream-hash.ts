// sha256 of what streams by. Hashing is a sixth of a conversion's work; on the pool's threads it runs beside the main one.
import { createHash, type Hash } from 'node:crypto';
import { NaiadError } from '../base/errors.ts';
import { KiB } from '../base/units.ts';
import { type Addon, loadAddon, type Sha256 } from './load.ts';

/** Bytes below which the way to another thread would take longer than hashing them. */
const BACKGROUND_SIZE_MIN = 32 * KiB;

/** Bytes go in by `push` or `update`, in the order of the calls. While a push is not settled, nothing else may be called. */
export interface StreamHash {
  /** Takes bytes in, in the background where that pays: they must not change before `settled`. */
  push(bytes: Uint8Array): void;
  /** Resolved once the last push is done; undefined when it is done already. */
  settled(): Promise<void> | undefined;
  /** Takes bytes in at once. */
  update(bytes: Uint8Array): void;
  /** For the digest of the bytes so far. */
  copy(): { digest(): Buffer };
  /** Digest of all bytes; the hash is used up. */
  digest(): Buffer;
}

/** With the addon a hash that works in the background, else Node's. */
export function createStreamHash(): StreamHash {
  try {
    return new BackgroundHash(loadAddon());
  } catch (error) {
    if (error instanceof NaiadError && error.code === 'ADDON_MISSING') return new PlainHash();
    throw error;
  }
}

class BackgroundHash implements StreamHash {
  readonly #addon: Addon;
  readonly #hash: Sha256;
  #pushed: Promise<void> | undefined;

  constructor(addon: Addon) {
    this.#addon = addon;
    this.#hash = addon.sha256Start();
  }

  push(bytes: Uint8Array): void {
    if (bytes.length < BACKGROUND_SIZE_MIN) this.update(bytes);
    else {
      this.#pushed = this.#addon.sha256UpdateAsync(this.#hash, bytes).then(() => {
        this.#pushed = undefined;
      });
    }
  }

  settled(): Promise<void> | undefined {
    return this.#pushed;
  }

  update(bytes: Uint8Array): void {
    this.#addon.sha256Update(this.#hash, bytes);
  }

  copy(): { digest(): Buffer } {
    const copy = this.#addon.sha256Copy(this.#hash);
    return { digest: () => this.#addon.sha256Digest(copy) };
  }

  digest(): Buffer {
    return this.#addon.sha256Digest(this.#hash);
  }
}

class PlainHash implements StreamHash {
  readonly #hash: Hash = createHash('sha256');

  push(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  settled(): undefined {
    return undefined;
  }

  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  copy(): Hash {
    return this.#hash.copy();
  }

  digest(): Buffer {
    return this.#hash.digest();
  }
}
