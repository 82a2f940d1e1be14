// What a pin on an image covers.
import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import type { Pin } from '../cache/pins.ts';
import { metadataDigests, type OpenImageOptions, openConvertedImage } from '../transport/image.ts';
import { formatPlace, locate } from '../transport/locate.ts';

const BLOB_ID = /^(?:sha256:)?([0-9a-f]{64})$/;

/** The name that a pin of `image` goes by, the same in every directory. @throws NaiadError REFERENCE_INVALID */
export function pinName(image: string): string {
  const blobId = BLOB_ID.exec(image)?.[1];
  if (blobId !== undefined) return blobId;
  const place = locate(image);
  if ('directory' in place) return formatPlace({ ...place, directory: resolve(place.directory) });
  if ('file' in place) return formatPlace({ ...place, file: resolve(place.file) });
  return formatPlace(place);
}

/** A pin for a blob id, or for all that the image consists of now. @throws NaiadError when the image cannot be opened */
export async function pinOf(image: string, options: OpenImageOptions & { readonly metadataDir: string }): Promise<Pin> {
  const name = pinName(image);
  const since = new Date().toISOString();
  if (BLOB_ID.test(name)) return { name, blobs: [name], metadata: [], since };
  await using opened = await openConvertedImage(name, options);
  const bootstrap = createHash('sha256').update(opened.bootstrapBytes).digest('hex');
  const blobs = opened.bootstrap.blobs.map(({ blobId }) => blobId);
  return { name, blobs, metadata: [...metadataDigests(opened), bootstrap], since };
}
