// The blobs of an image that its start reads first, asked for while its bootstrap still comes: the hot blob, or all of an image
// that takes no longer than asking for it.
import { existsSync } from 'node:fs';
import type { BlobReader } from '../backend/blob-reader.ts';
import { EarlyStream } from '../backend/early-stream.ts';
import { EARLY_BLOBS_MAX, EARLY_IMAGE_SIZE_MAX } from '../base/limits.ts';
import { hotBlobIdsOf } from '../format/oci/annotations.ts';
import { digestHex } from '../format/oci/digest.ts';
import type { Descriptor, ImageManifest } from '../format/oci/manifest.ts';
import { blobCacheFiles } from '../store/paths.ts';
import type { ImageSource } from '../transport/transport.ts';

export class EarlyBlobs implements Disposable {
  readonly #cache: string;
  readonly #wholeIfSmall: boolean;
  readonly #streams = new Map<string, EarlyStream>();

  /** `cache` is the directory of what is there already. `wholeIfSmall`: not only hot blobs. */
  constructor(cache: string, { wholeIfSmall }: { readonly wholeIfSmall: boolean }) {
    this.#cache = cache;
    this.#wholeIfSmall = wholeIfSmall;
  }

  /** Asks for what is worth it and was never begun to be cached. */
  begin(source: ImageSource, manifest: ImageManifest): void {
    for (const blob of this.#wanted(manifest)) {
      const blobId = digestHex(blob.digest);
      if (this.#streams.has(blobId) || existsSync(blobCacheFiles(this.#cache, blobId).map)) continue;
      this.#streams.set(blobId, new EarlyStream(source.blobReader(blob), blob.size));
    }
  }

  /** `reader` of a blob, which gives what is on its way already. */
  of(blobId: string, reader: BlobReader): BlobReader {
    return this.#streams.get(blobId)?.of(reader) ?? reader;
  }

  /** Gives up what nobody has opened. */
  [Symbol.dispose](): void {
    for (const stream of this.#streams.values()) stream[Symbol.dispose]();
  }

  #wanted(manifest: ImageManifest): Descriptor[] {
    const blobs = manifest.layers.slice(0, -1); // The bootstrap is the last.
    const hot = hotBlobIdsOf(manifest);
    if (hot.length > 0) return blobs.filter(({ digest }) => hot.includes(digestHex(digest))).slice(0, EARLY_BLOBS_MAX);
    const size = blobs.reduce((sum, blob) => sum + blob.size, 0);
    return this.#wholeIfSmall && size <= EARLY_IMAGE_SIZE_MAX && blobs.length <= EARLY_BLOBS_MAX ? blobs : [];
  }
}
