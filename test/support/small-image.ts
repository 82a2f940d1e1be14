// A real image of a few kilobytes, in memory: one layer a file, made of tars that any tool reads.
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import tar from 'tar-stream';
import { sha256Digest } from '../../src/format/oci/digest.ts';
import type { Descriptor, RawManifest } from '../../src/format/oci/manifest.ts';
import { MEDIA_TYPES } from '../../src/format/oci/media-types.ts';

interface Layer {
  readonly descriptor: Descriptor;
  readonly bytes: Buffer;
  readonly tar: Buffer;
}

export interface SmallImage {
  readonly manifest: RawManifest;
  readonly config: { readonly descriptor: Descriptor; readonly bytes: Buffer };
  readonly layers: readonly Layer[];
}

export type SmallFiles = Readonly<Record<string, string | Buffer>>;

/** A tar of regular files, the same for the same input. */
export async function smallTar(files: SmallFiles): Promise<Buffer> {
  const pack = tar.pack();
  for (const [name, content] of Object.entries(files)) {
    const bytes = typeof content === 'string' ? Buffer.from(content) : content;
    pack.entry({ name, mode: 0o644, mtime: new Date(0), size: bytes.length }).end(bytes);
  }
  pack.finalize();
  const pieces: Buffer[] = [];
  for await (const piece of pack as AsyncIterable<Buffer>) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** One layer for each of `layers`. `annotations` go to the last layer (to mark a bootstrap). */
export async function smallImage(
  layers: readonly SmallFiles[],
  options: { readonly annotations?: Record<string, string>; readonly architecture?: string } = {},
): Promise<SmallImage> {
  const made = await Promise.all(
    layers.map(async (files, index) => {
      const plain = await smallTar(files);
      const bytes = gzipSync(plain);
      const descriptor: Descriptor = {
        mediaType: MEDIA_TYPES.ociLayerGzip,
        digest: sha256Digest(bytes),
        size: bytes.length,
        ...(options.annotations && index === layers.length - 1 ? { annotations: options.annotations } : {}),
      };
      return { descriptor, bytes, tar: plain };
    }),
  );
  return imageOf(made, options.architecture);
}

/** An image of one layer, as a tar is. */
export function imageOfTar(tar: Buffer): SmallImage {
  return imageOf([
    { descriptor: { mediaType: MEDIA_TYPES.ociLayer, digest: sha256Digest(tar), size: tar.length }, bytes: tar, tar },
  ]);
}

function imageOf(made: readonly Layer[], architecture = 'amd64'): SmallImage {
  const configBytes = Buffer.from(
    JSON.stringify({
      architecture,
      os: 'linux',
      config: { Cmd: ['/hello'] },
      rootfs: { type: 'layers', diff_ids: made.map((layer) => sha256Digest(layer.tar)) },
      history: made.map(() => ({ created: '1970-01-01T00:00:00Z', created_by: 'test' })),
    }),
  );
  const config: Descriptor = {
    mediaType: MEDIA_TYPES.ociConfig,
    digest: sha256Digest(configBytes),
    size: configBytes.length,
  };
  const document = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config,
    layers: made.map((layer) => layer.descriptor),
  };
  const bytes = Buffer.from(JSON.stringify(document));
  return {
    manifest: { mediaType: MEDIA_TYPES.ociManifest, digest: sha256Digest(bytes), bytes },
    config: { descriptor: config, bytes: configBytes },
    layers: made,
  };
}

/** Writes the image as an OCI layout that other tools read. */
export function writeSmallLayout(directory: string, image: SmallImage, tag: string): void {
  const blobs = join(directory, 'blobs', 'sha256');
  mkdirSync(blobs, { recursive: true });
  const put = (digest: string, bytes: Uint8Array) => writeFileSync(join(blobs, digest.slice(7)), bytes);
  for (const { descriptor, bytes } of [image.config, ...image.layers]) put(descriptor.digest, bytes);
  put(image.manifest.digest, image.manifest.bytes);
  writeFileSync(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  const entry = {
    mediaType: image.manifest.mediaType,
    digest: image.manifest.digest,
    size: image.manifest.bytes.length,
    annotations: { 'org.opencontainers.image.ref.name': tag },
  };
  writeFileSync(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [entry] }));
}

/** Bytes that look random and are the same each time. */
export function noise(size: number, seed = 'naiad'): Buffer {
  const pieces: Buffer[] = [];
  for (let index = 0; index * 32 < size; index++) {
    pieces.push(createHash('sha256').update(`${seed} ${index}`).digest());
  }
  return Buffer.concat(pieces).subarray(0, size);
}
