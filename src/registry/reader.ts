// A blob in a registry as a BlobReader.
import type { BlobReader, ByteRange } from '../backend/blob-reader.ts';
import { readBlobRange } from './blobs.ts';
import type { Registry } from './transport.ts';

/** Each read is one ranged request, tried again within its deadline. The registry must outlive the reader. */
export function registryReader(
  registry: Registry,
  blob: { readonly repository: string; readonly digest: string; readonly size?: number | undefined },
): BlobReader {
  const name = { ...blob, size: blob.size };
  return {
    name: `${registry.host}/${blob.repository}@${blob.digest}`,
    readAt: (range: ByteRange, signal?: AbortSignal) => readBlobRange(registry, name, range, signal),
  };
}
