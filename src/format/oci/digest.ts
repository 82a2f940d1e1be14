// Digests as registries write them: `sha256:` and 64 lowercase hex digits. Other algorithms exist on paper only; a
// reference or descriptor that uses one is refused by name.
import { createHash } from 'node:crypto';

const DIGEST = /^sha256:[0-9a-f]{64}$/;
const OTHER_ALGORITHM = /^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[A-Za-z0-9=_-]{1,256}$/;

/** True when `text` is a sha256 digest in its one spelling. */
export function isDigest(text: unknown): text is string {
  return typeof text === 'string' && DIGEST.test(text);
}

/** The 64 hex digits of a digest that `isDigest` accepted. */
export function digestHex(digest: string): string {
  return digest.slice('sha256:'.length);
}

/** Why `text` is no digest we take, for messages; undefined when it is one. */
export function digestComplaint(text: unknown): string | undefined {
  if (isDigest(text)) return undefined;
  if (typeof text !== 'string') return `a digest must be a string, got ${text === null ? 'null' : typeof text}`;
  const shown = JSON.stringify(text.slice(0, 80));
  if (OTHER_ALGORITHM.test(text) && !text.startsWith('sha256:')) {
    return `digest ${shown} uses an algorithm naiad does not know; only sha256 is supported`;
  }
  return `digest ${shown} is not "sha256:" and 64 lowercase hex digits`;
}

/** The digest of `bytes`. */
export function sha256Digest(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
