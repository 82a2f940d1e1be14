// Streams of whole blobs that end only when they were what was asked for.
import { createHash } from 'node:crypto';
import { NaiadError } from '../base/errors.ts';

/**
 * Passes `source` on and checks it: more bytes than `size` stop it at once; too few, or another digest, are an error
 * where the end would have been. Pieces belong to the reader.
 * @throws NaiadError SIZE_MISMATCH, DIGEST_MISMATCH; what `source` throws
 */
export async function* verifyStream(
  source: AsyncIterable<Uint8Array>,
  expected: { readonly digest: string; readonly size: number },
  name: string,
): AsyncGenerator<Uint8Array, void, void> {
  const hash = createHash('sha256');
  let size = 0;
  for await (const piece of source) {
    size += piece.length;
    if (size > expected.size) {
      throw new NaiadError('SIZE_MISMATCH', `${name}: expected ${expected.size} bytes, got at least ${size}`);
    }
    hash.update(piece);
    yield piece;
  }
  if (size !== expected.size) {
    throw new NaiadError('SIZE_MISMATCH', `${name}: expected ${expected.size} bytes, got ${size}`);
  }
  const digest = `sha256:${hash.digest('hex')}`;
  if (digest !== expected.digest) {
    throw new NaiadError('DIGEST_MISMATCH', `${name}: expected ${expected.digest}, got ${digest}`);
  }
}
