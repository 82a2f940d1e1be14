// Digest and size of what flows through.
import { createHash } from 'node:crypto';
import { Transform } from 'node:stream';

export interface Digesting {
  /** Passes bytes on unchanged. */
  readonly stream: Transform;
  /** `sha256:…` and bytes of all that passed; asked for once it has ended. */
  result(): { readonly digest: string; readonly size: number };
}

export function digesting(): Digesting {
  const hash = createHash('sha256');
  let size = 0;
  let digest: string | undefined;
  const stream = new Transform({
    transform(piece: Buffer, _encoding, done) {
      hash.update(piece);
      size += piece.length;
      done(null, piece);
    },
  });
  const result = () => {
    digest ??= `sha256:${hash.digest('hex')}`;
    return { digest, size };
  };
  return { stream, result };
}
