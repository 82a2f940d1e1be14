// An OCI layout of one layer of noise: what is pushed in a benchmark cannot be made smaller on the way.
import { createHash, type Hash, randomFillSync } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { throwIfAborted } from '../base/concurrency.ts';
import { MiB } from '../base/units.ts';
import { digestHex } from '../format/oci/digest.ts';
import { descriptorOf, jsonBlob, manifestOf } from '../format/oci/documents.ts';
import { MEDIA_TYPES } from '../format/oci/media-types.ts';

export interface BlobImage {
  /** `oci:DIR:TAG`. */
  readonly reference: string;
  readonly digest: string;
  /** Bytes of the layer as it is stored: a few more than were asked for. */
  readonly size: number;
  readonly path: string;
}

/**
 * Writes it to `dir`, which must exist. The layer is gzip that compresses nothing, so that tools that compress what is not
 * compressed leave it alone.
 */
export async function writeBlobImage(dir: string, size: number, signal: AbortSignal): Promise<BlobImage> {
  const blobs = join(dir, 'blobs/sha256');
  await mkdir(blobs, { recursive: true });
  const unfinished = join(dir, 'layer');
  const [inner, outer] = [createHash('sha256'), createHash('sha256')];
  let stored = 0;
  await pipeline(
    noise(size, inner, signal),
    createGzip({ level: 0, chunkSize: MiB }),
    async function* (pieces: AsyncIterable<Uint8Array>) {
      for await (const piece of pieces) {
        outer.update(piece);
        stored += piece.length;
        yield piece;
      }
    },
    createWriteStream(unfinished),
  );
  const digest = `sha256:${outer.digest('hex')}`;
  const path = join(blobs, digestHex(digest));
  await rename(unfinished, path);
  const rootfs = { type: 'layers', diff_ids: [`sha256:${inner.digest('hex')}`] };
  const config = jsonBlob({ architecture: 'amd64', os: 'linux', config: {}, rootfs });
  const layers = [{ mediaType: MEDIA_TYPES.ociLayerGzip, digest, size: stored }];
  const manifest = manifestOf(MEDIA_TYPES.ociManifest, { config: config.descriptor, layers });
  await writeFile(join(blobs, digestHex(config.descriptor.digest)), config.bytes);
  await writeFile(join(blobs, digestHex(manifest.digest)), manifest.bytes);
  const annotations = { 'org.opencontainers.image.ref.name': 'bench' };
  const manifests = [{ ...descriptorOf(manifest), annotations }];
  await writeFile(join(dir, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
  await writeFile(join(dir, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  return { reference: `oci:${dir}:bench`, digest, size: stored, path };
}

function* noise(size: number, hash: Hash, signal: AbortSignal): Generator<Uint8Array> {
  for (let left = size; left > 0; left -= MiB) {
    throwIfAborted(signal);
    const piece = randomFillSync(Buffer.allocUnsafe(Math.min(left, MiB)));
    hash.update(piece);
    yield piece;
  }
}
