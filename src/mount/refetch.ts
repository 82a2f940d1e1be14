// Bringing the right bytes of cached chunks that turned out to be wrong, for blobs that are mounted: the images that are
// mounted over a cache directory know where their blobs are.
import { openDevices } from '../backend/devices.ts';
import { NaiadError } from '../base/errors.ts';
import { ChunkCache } from '../cache/chunk-cache.ts';
import type { CacheItem } from '../cache/inventory.ts';
import { blobCacheFiles, metadataDir } from '../store/paths.ts';
import { openConvertedImage } from '../transport/image.ts';
import { listRecords } from './mount-record.ts';
import { stateRoot } from './state-root.ts';

/** Returns the chunks that are right now; those that no mounted image can bring are left out. */
export async function refetchMounted(
  cache: string,
  item: CacheItem,
  chunks: readonly number[],
  signal: AbortSignal,
): Promise<number[]> {
  const images = listRecords(stateRoot()).filter((record) => record.cache === cache);
  const right = new Set<number>();
  for (const image of new Set(images.map((record) => record.image))) {
    const missing = chunks.filter((index) => !right.has(index));
    if (missing.length === 0) break;
    try {
      for (const index of await refetchFrom(image, cache, item, missing, signal)) right.add(index);
    } catch (error) {
      if (!(error instanceof NaiadError) || error.kind === 'canceled') throw error;
      // Another image may still bring them; what nobody brings is reported.
    }
  }
  return [...right];
}

async function refetchFrom(
  reference: string,
  cache: string,
  item: CacheItem,
  chunks: readonly number[],
  signal: AbortSignal,
): Promise<number[]> {
  await using image = await openConvertedImage(reference, { signal, metadataDir: metadataDir(cache) });
  const readerOf = (blobId: string) => image.blobReader(blobId);
  if (!image.bootstrap.blobs.some(({ blobId }) => blobId === item.id)) return [];
  const device = (await openDevices(image.bootstrap, readerOf, signal)).find(({ blobId }) => blobId === item.id);
  if (!device) return [];
  const filesOf = (blobId: string, variant?: string) => blobCacheFiles(cache, blobId, variant);
  await using opened = await ChunkCache.open({ device, reader: readerOf(item.id), filesOf });
  return opened.files.map === item.lockPath ? await opened.refetch(chunks) : [];
}
