// An image as a driver gets it, in this process: no daemon, no record of a mount.
import type { BlobReader } from '../../src/backend/blob-reader.ts';
import { CacheDirectories } from '../../src/mount/cache-directory.ts';
import { CachePool } from '../../src/mount/cache-pool.ts';
import type { MountPlace } from '../../src/mount/driver.ts';
import { ImageFs } from '../../src/mount/image-fs.ts';
import { openConvertedImage } from '../../src/transport/image.ts';

/** Opens a converted image over the cache in `cache`. `readAt` takes the place of reading its blobs. */
export async function openImageFs(
  reference: string,
  cache: string,
  readAt?: BlobReader['readAt'],
): Promise<AsyncDisposable & { readonly fs: ImageFs; readonly place: MountPlace }> {
  const image = await openConvertedImage(reference);
  const directory = await new CacheDirectories().open(cache, undefined);
  const readerOf = (blobId: string) => (readAt ? { name: blobId, readAt } : image.blobReader(blobId));
  const fs = await ImageFs.open({ bootstrap: image.bootstrap, readerOf, pool: new CachePool(), directory });
  const keeper = () => Promise.reject(new Error('there is no keeper here'));
  return {
    fs,
    place: { id: 'test', cache, record: false, keeper },
    async [Symbol.asyncDispose]() {
      await fs[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
      await image[Symbol.asyncDispose]();
    },
  };
}
