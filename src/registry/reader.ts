// A blob in a registry as a BlobReader.
import type { BlobReader, ByteRange, ReadHint } from '../backend/blob-reader.ts';
import { openBlobRange } from './blob-stream.ts';
import { blobCall, readBlobRange } from './blobs.ts';
import { SignedAddress } from './signed-address.ts';
import type { Registry } from './transport.ts';

/** Each read is one ranged request, tried again within its deadline; a stream is one attempt. The registry must outlive the reader. */
export function registryReader(
  registry: Registry,
  blob: { readonly repository: string; readonly digest: string; readonly size?: number | undefined },
): BlobReader {
  const name = { ...blob, size: blob.size };
  const streamed = { call: blobCall(blob, 'GET'), size: blob.size, address: new SignedAddress() };
  return {
    name: `${registry.host}/${blob.repository}@${blob.digest}`,
    readAt: (range: ByteRange, signal?: AbortSignal) => readBlobRange(registry, name, range, signal),
    open: (range: ByteRange, signal: AbortSignal, hint: ReadHint = {}) =>
      openBlobRange(registry, streamed, range, hint, signal),
  };
}
