// Documents of images as they are stored. Same fields in the same order, same bytes.
import { sha256Digest } from './digest.ts';
import type { Descriptor, RawManifest } from './manifest.ts';
import { MEDIA_TYPES } from './media-types.ts';

/** A config, or another small blob of JSON. */
export interface JsonBlob {
  readonly descriptor: Descriptor;
  readonly bytes: Buffer;
}

export function jsonBlob(value: object, mediaType: string = MEDIA_TYPES.ociConfig): JsonBlob {
  const bytes = Buffer.from(JSON.stringify(value));
  return { descriptor: { mediaType, digest: sha256Digest(bytes), size: bytes.length }, bytes };
}

/** A manifest or index with these fields behind its version and media type. */
export function manifestOf(mediaType: string, fields: object): RawManifest {
  const { descriptor, bytes } = jsonBlob({ schemaVersion: 2, mediaType, ...fields }, mediaType);
  return { mediaType, digest: descriptor.digest, bytes };
}

/** What names a manifest or index in another document. */
export function descriptorOf({ mediaType, digest, bytes }: RawManifest): Descriptor {
  return { mediaType, digest, size: bytes.length };
}
