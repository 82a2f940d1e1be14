// The manifest of a build cache: a layer for each record of a converted layer. docs/format/build-cache.md draws one.
import { manifestOf } from './documents.ts';
import { EMPTY_CONFIG } from './empty-config.ts';
import { type Descriptor, type ImageManifest, parseDocument, type RawManifest } from './manifest.ts';
import { MEDIA_TYPES } from './media-types.ts';

const BUILD_CACHE_TYPE = 'application/vnd.naiad.build-cache.v1';
const LAYER_RECORD_TYPE = 'application/vnd.naiad.layer-record.v1.jsonl+gzip';
/** Layer: what the record is of. */
const KEY = 'dev.naiad.layer-key';

export function layerRecordDescriptor(key: string, { digest, size }: Pick<Descriptor, 'digest' | 'size'>): Descriptor {
  return { mediaType: LAYER_RECORD_TYPE, digest, size, annotations: { [KEY]: key } };
}

/** True for the manifest of a build cache, well-formed or not. */
export function isBuildCache({ bytes, mediaType }: RawManifest): boolean {
  const document = parseDocument(bytes, mediaType);
  return document.kind === 'manifest' && document.manifest.artifactType === BUILD_CACHE_TYPE;
}

/** The records of a build cache by their keys, in its order. */
export function layerRecordsIn({ layers }: Pick<ImageManifest, 'layers'>): Map<string, Descriptor> {
  const records = layers.filter(({ mediaType }) => mediaType === LAYER_RECORD_TYPE);
  return new Map(records.map((record) => [record.annotations?.[KEY] ?? record.digest, record]));
}

export interface BuildCacheArtifact {
  readonly manifest: RawManifest;
  readonly config: Descriptor;
  readonly configBytes: Uint8Array;
}

/** The artifact that names `records`. */
export function buildCacheManifest(records: readonly Descriptor[]): BuildCacheArtifact {
  const { descriptor: config, bytes: configBytes } = EMPTY_CONFIG;
  const fields = { artifactType: BUILD_CACHE_TYPE, config, layers: records };
  return { manifest: manifestOf(MEDIA_TYPES.ociManifest, fields), config, configBytes };
}
