// The documents of a converted image: bootstrap layer, config, manifest (Nydus' conventions, see docs/format/image.md).
import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { pack as createPack } from 'tar-stream';
import { systemError } from '../base/system-error.ts';
import { digesting } from '../codec/digesting.ts';
import { ANNOTATIONS, BOOTSTRAP_PATHS, type Origin, originAnnotations } from '../format/oci/annotations.ts';
import { type JsonBlob, jsonBlob, manifestOf } from '../format/oci/documents.ts';
import { keptHistory } from '../format/oci/history.ts';
import type { JsonObject } from '../format/oci/json-reader.ts';
import type { Descriptor, RawManifest } from '../format/oci/manifest.ts';
import { MEDIA_TYPES, NYDUS_BLOB_MEDIA_TYPE } from '../format/oci/media-types.ts';
import type { BlobInfo } from '../image/blob-info.ts';
import type { PlannedBootstrap } from '../image/bootstrap-writer.ts';

export interface BootstrapLayer {
  readonly descriptor: Descriptor;
  /** Digest of its uncompressed tar. */
  readonly diffId: string;
}

/** Writes the tar of the bootstrap, gzipped, to `path`. Nothing of the time or the machine gets into it. */
export async function writeBootstrapLayer(
  bootstrap: Pick<PlannedBootstrap, 'size' | 'pieces'>,
  path: string,
  signal: AbortSignal | undefined,
): Promise<BootstrapLayer> {
  const diff = digesting();
  const stored = digesting();
  const [bootstrapPath] = BOOTSTRAP_PATHS;
  const owner = { uid: 0, gid: 0, uname: '', gname: '', mtime: new Date(0) };
  const tar = createPack();
  tar.entry({ ...owner, name: 'image', type: 'directory', mode: 0o755 });
  const file = tar.entry({ ...owner, name: bootstrapPath, type: 'file', mode: 0o444, size: bootstrap.size });
  const written = pipeline(Readable.from(bootstrap.pieces), file as unknown as NodeJS.WritableStream);
  const finished = written.then(() => tar.finalize());
  try {
    await Promise.all([
      finished,
      pipeline(
        tar as unknown as NodeJS.ReadableStream,
        diff.stream,
        createGzip(),
        stored.stream,
        createWriteStream(path),
        {
          ...(signal && { signal }),
        },
      ),
    ]);
  } catch (error) {
    tar.destroy(null);
    await finished.catch(() => undefined);
    throw systemError(error, 'writing the bootstrap layer');
  }
  const { digest, size } = stored.result();
  return {
    diffId: diff.result().digest,
    descriptor: {
      mediaType: MEDIA_TYPES.ociLayerGzip,
      digest,
      size,
      annotations: { [ANNOTATIONS.bootstrap]: 'true', [ANNOTATIONS.fsVersion]: '6' },
    },
  };
}

export function blobDescriptor(blob: BlobInfo): Descriptor {
  return {
    mediaType: NYDUS_BLOB_MEDIA_TYPE,
    digest: `sha256:${blob.blobId}`,
    size: blob.compressedSize,
    annotations: { [ANNOTATIONS.blob]: 'true' },
  };
}

export interface ImageParts {
  /** Blobs the bootstrap lists, in its order. */
  readonly blobs: readonly BlobInfo[];
  readonly bootstrap: BootstrapLayer;
  /** The source's config; all of it is kept but the layers and their history. */
  readonly config: JsonObject;
  /** For each layer of the source, whether the image still has its blob. */
  readonly kept: readonly boolean[];
  /** Annotations of the source's manifest, which are kept. */
  readonly annotations: Readonly<Record<string, string>>;
  readonly origin: Origin;
  /** The usual one when left out. */
  readonly configMediaType?: string | undefined;
}

/** Config and manifest. The digest of a blob layer's uncompressed content is its own: it is no archive. */
export function describeImage(parts: ImageParts): { readonly config: JsonBlob; readonly manifest: RawManifest } {
  const layers = [...parts.blobs.map(blobDescriptor), parts.bootstrap.descriptor];
  const diffIds = [...parts.blobs.map(({ blobId }) => `sha256:${blobId}`), parts.bootstrap.diffId];
  const made = { created_by: 'naiad convert', comment: 'Nydus Bootstrap Layer' };
  const history = [...keptHistory(parts.config.history, parts.kept), made];
  const document = { ...parts.config, rootfs: { type: 'layers', diff_ids: diffIds }, history };
  const config = jsonBlob(document, parts.configMediaType);
  const annotations = {
    ...parts.annotations,
    [ANNOTATIONS.fsVersion]: '6',
    ...originAnnotations(parts.origin),
  };
  return { config, manifest: manifestOf(MEDIA_TYPES.ociManifest, { config: config.descriptor, layers, annotations }) };
}
