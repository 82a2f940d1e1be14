// Bringing all of an image into the cache, mounted or not.
import { NaiadError } from '../base/errors.ts';
import { cacheDir } from '../store/paths.ts';
import { openConvertedImage } from '../transport/image.ts';
import type { FetchRequest } from './fetch-request.ts';
import { ImageFs, totalCoverage } from './image-fs.ts';
import { type ImageRequest, imageOptions } from './image-options.ts';
import type { MountContext } from './mount-context.ts';
import { Prefetch } from './prefetch.ts';
import { allChunks } from './prefetch-lists.ts';

export interface FillRequest extends ImageRequest, Pick<FetchRequest, 'cache' | 'cacheSizeMax'> {
  /** With absolute paths. */
  readonly image: string;
  /** By which its progress is asked for. */
  readonly requestId: string;
}

/** Uncompressed bytes of the image. */
export interface FillProgress {
  readonly bytes: number;
  readonly bytesTotal: number;
  /** Why it waits at present. */
  readonly why?: string | undefined;
}

export interface FillResult extends FillProgress {
  /** What was fetched for it, as it is stored; less when others fetched as well. */
  readonly fetchedBytes: number;
}

/**
 * Fetches all that is missing of an image, behind every reader. Waits for a registry that is down, until `signal`.
 * @throws NaiadError when the image cannot be opened; CHUNK_DIGEST_MISMATCH when chunks are wrong wherever they come from; NO_SPACE;
 *   CANCELED
 */
export async function fillImage(
  request: FillRequest,
  context: MountContext,
  { signal, onProgress }: { readonly signal: AbortSignal; readonly onProgress: (progress: FillProgress) => void },
): Promise<FillResult> {
  const cache = cacheDir(request.cache);
  await using directory = await context.directories.open(cache, request.cacheSizeMax);
  await using image = await openConvertedImage(request.image, { ...imageOptions(request, cache, context), signal });
  const { bootstrap, host } = image;
  const readerOf = (blobId: string) => image.blobReader(blobId);
  const { pool, observer } = context;
  await using fs = await ImageFs.open({ bootstrap, readerOf, pool, directory, observer, signal, host });
  const { bytesTotal } = totalCoverage(fs.coverage());
  await using prefetch = new Prefetch(fs.caches, allChunks(fs), { priority: 'background', bytesTotal });
  const tell = () => {
    const { bytes, why } = prefetch.progress;
    onProgress({ bytes, bytesTotal, why });
  };
  const stop = () => void prefetch[Symbol.asyncDispose]();
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  const telling = setInterval(tell, TELL_MS);
  await prefetch.done;
  clearInterval(telling);
  signal.removeEventListener('abort', stop);
  const { state, why, error, wrongChunks, bytes } = prefetch.progress;
  if (state === 'stopped') throw error instanceof NaiadError ? error : new NaiadError('BUG', `${image.name}: ${why}`);
  if (wrongChunks > 0) {
    throw new NaiadError(
      'CHUNK_DIGEST_MISMATCH',
      `${image.name}: ${wrongChunks} chunks are wrong wherever they come from`,
      {
        hint: `naiad check --data ${image.name} lists them.`,
      },
    );
  }
  return { bytes, bytesTotal, fetchedBytes: fs.counters.backend.bytes };
}

const TELL_MS = 100;
