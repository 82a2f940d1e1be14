// Child of the crash test: fills the cache below argv[2] chunk by chunk until it is killed.
import { ChunkCache } from '../../src/cache/chunk-cache.ts';
import { blobCacheFiles } from '../../src/store/paths.ts';
import { makeBlob, memoryReader, patterned } from './blobs.ts';

const directory = process.argv[2] ?? '';
const blob = makeBlob(Array.from({ length: 200 }, (_, seed) => patterned(65_536, seed)));
const filesOf = (blobId: string, variant?: string) => blobCacheFiles(directory, blobId, variant);
const cache = await ChunkCache.open({ device: blob.device, reader: memoryReader(blob.stored), filesOf });
for (let index = 0; index < blob.device.chunks.count; index++) {
  await cache.ensure({ offset: blob.device.chunks.uncompressedOffset(index), size: 1 });
  if (index === 0) process.send?.('filling');
}
setInterval(() => undefined, 1000);
