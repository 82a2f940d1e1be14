// Streams of whole blobs that end only when they were what was asked for.
import { NaiadError } from '../base/errors.ts';
import { createStreamHash } from '../native/stream-hash.ts';

/**
 * Passes `source` on and checks it: more bytes than `size` stop it at once; too few, or another digest, are an error
 * where the end would have been. Pieces may be read, and must not be
 * changed: they are hashed while the reader has them.
 * @throws NaiadError SIZE_MISMATCH, DIGEST_MISMATCH; what `source` throws
 */
export async function* verifyStream(
  source: AsyncIterable<Uint8Array>,
  expected: { readonly digest: string; readonly size: number },
  name: string,
): AsyncGenerator<Uint8Array, void, void> {
  const hash = createStreamHash();
  let size = 0;
  for await (const piece of source) {
    size += piece.length;
    if (size > expected.size) {
      throw new NaiadError('SIZE_MISMATCH', `${name}: expected ${expected.size} bytes, got at least ${size}`);
    }
    await hash.settled();
    hash.push(piece);
    yield piece;
  }
  await hash.settled();
  if (size !== expected.size) {
    throw new NaiadError('SIZE_MISMATCH', `${name}: expected ${expected.size} bytes, got ${size}`);
  }
  const digest = `sha256:${hash.digest().toString('hex')}`;
  if (digest !== expected.digest) {
    throw new NaiadError('DIGEST_MISMATCH', `${name}: expected ${expected.digest}, got ${digest}`);
  }
}
