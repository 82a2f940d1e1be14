// How a converted image is marked: the names Nydus' tools and snapshotter look for.
import { digestHex } from './digest.ts';
import type { Descriptor, ImageManifest } from './manifest.ts';
import { NYDUS_BLOB_MEDIA_TYPE } from './media-types.ts';

/** `artifactType` of a converted manifest's descriptor in an index of both kinds. */
export const NYDUS_MANIFEST_ARTIFACT_TYPE = 'application/vnd.nydus.image.manifest.v1+json';
/** Config media type inside such an index: plain containerd does not know it and so passes the manifest over. */
export const NYDUS_CONFIG_MEDIA_TYPE = 'application/vnd.nydus.image.config.v1+json';
/** Marks index entries of Nydus before 2.3.5, in `platform["os.features"]`. */
const NYDUS_OS_FEATURE = 'nydus.remoteimage.v1';

const PREFIX = 'containerd.io/snapshot/nydus-';

/** Annotation names. Values are strings; flags are `"true"`. */
export const ANNOTATIONS = {
  /** Layer: its tar holds the bootstrap. */
  bootstrap: `${PREFIX}bootstrap`,
  /** Layer: it is a RAFS blob. */
  blob: `${PREFIX}blob`,
  /** Bootstrap layer and manifest: "5" or "6". */
  fsVersion: `${PREFIX}fs-version`,
  /** Layer: digest of the OCI layer whose bytes an OCI-reference blob points into. */
  ref: `${PREFIX}ref`,
  encryptedBlob: `${PREFIX}encrypted-blob`,
  separatedBlobWithPrefetchFiles: `${PREFIX}separated-blob-with-prefetch-files`,
  /** Manifest, or layer of a cache image: digest of what it was converted from. */
  sourceDigest: `${PREFIX}source-digest`,
  sourceReference: `${PREFIX}source-reference`,
  builderVersion: `${PREFIX}builder-version`,
  /** Layer of the plain image beside a converted one: keeps their snapshots apart. */
  emptyLayer: `${PREFIX}empty-layer`,
  /** Legacy, bootstrap layer: JSON arrays of blob ids. */
  referenceBlobIds: `${PREFIX}reference-blob-ids`,
  blobIds: `${PREFIX}blob-ids`,
  cacheVersion: `${PREFIX}cache-version`,
  commitBlobs: `${PREFIX}commit-blobs`,
} as const;

/** What naiad says beside that; others pass it over. */
export const NAIAD_ANNOTATIONS = {
  /** Layer: `"true"` for the blob that holds what a start reads, in the order in which it does. */
  hot: 'dev.naiad.hot',
  /** Manifest or index: what it was converted with; see docs/format/image.md. */
  options: 'dev.naiad.options',
  /** Manifest: digest of the manifest that was optimized, and of the trace (of its file, uncompressed). */
  optimizedFrom: 'dev.naiad.optimized.from',
  optimizedTrace: 'dev.naiad.optimized.trace',
} as const;

/** What an image or index says of how it was made. */
export interface Origin {
  /** Digest and reference of the source, where it has them. */
  readonly digest?: string;
  readonly reference?: string;
  /** Program and version. */
  readonly builder: string;
  /** All that the bytes depend on besides. */
  readonly options: string;
}

export function originAnnotations({ digest, reference, builder, options }: Origin): Record<string, string> {
  return {
    ...(digest && { [ANNOTATIONS.sourceDigest]: digest }),
    ...(reference && { [ANNOTATIONS.sourceReference]: reference }),
    [ANNOTATIONS.builderVersion]: builder,
    [NAIAD_ANNOTATIONS.options]: options,
  };
}

/** What `originAnnotations` wrote; undefined where nobody did, or where the image was optimized since. */
export function readOrigin(annotations: Readonly<Record<string, string>> = {}): Origin | undefined {
  const { [ANNOTATIONS.builderVersion]: builder, [NAIAD_ANNOTATIONS.options]: options } = annotations;
  if (builder === undefined || options === undefined) return undefined;
  if (annotations[NAIAD_ANNOTATIONS.optimizedFrom] !== undefined) return undefined;
  const { [ANNOTATIONS.sourceDigest]: digest, [ANNOTATIONS.sourceReference]: reference } = annotations;
  return { builder, options, ...(digest && { digest }), ...(reference && { reference }) };
}

/** Annotations of a manifest without what a conversion put there. */
export function withoutConversion(annotations: Readonly<Record<string, string>>): Record<string, string> {
  const ours = (name: string) => name.startsWith(PREFIX) || name.startsWith('dev.naiad.');
  return Object.fromEntries(Object.entries(annotations).filter(([name]) => !ours(name)));
}

/** The paths a bootstrap may have in its layer's tar, in order of preference; `./` and `/` in front are allowed. */
export const BOOTSTRAP_PATHS = ['image/image.boot', 'image.boot'] as const;

/** The layer whose tar holds the bootstrap: the last one, when it is marked. Undefined in an ordinary image. */
export function bootstrapLayer(manifest: Pick<ImageManifest, 'layers'>): Descriptor | undefined {
  const last = manifest.layers.at(-1);
  return last?.annotations?.[ANNOTATIONS.bootstrap] === 'true' ? last : undefined;
}

/** True when a manifest is of a converted image. */
export function isConverted(manifest: Pick<ImageManifest, 'layers'>): boolean {
  return bootstrapLayer(manifest) !== undefined;
}

/** True when an index entry says that it is a converted image, in the present or the older way. */
export function isConvertedEntry(entry: Descriptor): boolean {
  return (
    entry.artifactType === NYDUS_MANIFEST_ARTIFACT_TYPE ||
    (entry.platform?.['os.features']?.includes(NYDUS_OS_FEATURE) ?? false)
  );
}

/** True when a layer is a RAFS blob, by annotation or media type. */
export function isBlobLayer(layer: Descriptor): boolean {
  return layer.annotations?.[ANNOTATIONS.blob] === 'true' || layer.mediaType === NYDUS_BLOB_MEDIA_TYPE;
}

/** Ids of the blobs that hold what a start reads. */
export function hotBlobIdsOf(manifest: Pick<ImageManifest, 'layers'>): string[] {
  const hot = manifest.layers.filter((layer) => layer.annotations?.[NAIAD_ANNOTATIONS.hot] === 'true');
  return hot.map(({ digest }) => digestHex(digest));
}
