// Small blobs that are read whole, of sources that have them in several places: a mirror that gives wrong bytes is not the end.
import { hasCode, NaiadError } from '../base/errors.ts';
import { BOOTSTRAP_SIZE_MAX } from '../base/limits.ts';
import type { Descriptor } from '../format/oci/manifest.ts';
import type { ImageSource } from './transport.ts';

/** Each mirror may have a wrong one. */
const ATTEMPTS_MAX = 4;

/**
 * Runs `read`, which makes something of a blob of `source`; again, where what came was wrong and another place may have it.
 * @throws what `read` throws
 */
export async function fromSomewhere<T>(
  source: ImageSource,
  blob: Pick<Descriptor, 'digest' | 'size'>,
  signal: AbortSignal | undefined,
  read: () => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const known = source.traffic?.distrusted.length ?? 0;
    try {
      return await read();
    } catch (error) {
      if (!(error instanceof NaiadError) || error.kind !== 'corrupt' || attempt === ATTEMPTS_MAX) throw error;
      // Whoever gave wrong bytes is distrusted once a digest shows it, and that is known at the end of a blob only.
      const shown = hasCode(error, 'DIGEST_MISMATCH', 'SIZE_MISMATCH');
      if (!shown && blob.size <= BOOTSTRAP_SIZE_MAX) await readToEnd(source, blob, signal);
      if ((source.traffic?.distrusted.length ?? 0) === known) throw error;
    }
  }
}

async function readToEnd(
  source: ImageSource,
  blob: Pick<Descriptor, 'digest' | 'size'>,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    for await (const _ of await source.openBlob(blob, signal)) signal?.throwIfAborted();
  } catch (error) {
    if (!(error instanceof NaiadError) || error.kind !== 'corrupt') throw error;
  }
}
