// Media types of manifests, configs and layers, in the two dialects registries hold.

/** A RAFS blob, as Nydus' tools name it. */
export const NYDUS_BLOB_MEDIA_TYPE = 'application/vnd.oci.image.layer.nydus.blob.v1';

export const MEDIA_TYPES = {
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociLayer: 'application/vnd.oci.image.layer.v1.tar',
  ociLayerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  ociLayerZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  dockerIndex: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar',
  dockerLayerGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
} as const;

/** Asked for in every request for a manifest: a registry answers 404 for a type that is not named. */
export const MANIFEST_ACCEPT = [
  MEDIA_TYPES.ociIndex,
  MEDIA_TYPES.ociManifest,
  MEDIA_TYPES.dockerIndex,
  MEDIA_TYPES.dockerManifest,
].join(', ');

export const SCHEMA1 = 'Docker schema 1';
const SCHEMA1_MEDIA_TYPES = new Set([
  'application/vnd.docker.distribution.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v1+prettyjws',
]);

export function isSchema1MediaType(mediaType: string): boolean {
  return SCHEMA1_MEDIA_TYPES.has(mediaType);
}

export function isManifestMediaType(mediaType: string): boolean {
  return mediaType === MEDIA_TYPES.ociManifest || mediaType === MEDIA_TYPES.dockerManifest;
}

export function isIndexMediaType(mediaType: string): boolean {
  return mediaType === MEDIA_TYPES.ociIndex || mediaType === MEDIA_TYPES.dockerIndex;
}

/** Servers that do not know say one of these. */
const GENERIC = new Set(['application/json', 'application/octet-stream', 'text/plain', 'binary/octet-stream']);

/** A Content-Type without its parameters; undefined when it says nothing. */
export function mediaTypeOf(contentType: string | undefined): string | undefined {
  const type = contentType?.split(';')[0]?.trim().toLowerCase();
  return type === undefined || type === '' || GENERIC.has(type) ? undefined : type;
}

export type LayerCompression = 'none' | 'gzip' | 'zstd';

/** What a layer's media type says: a tar under some compression, or something else. */
export type LayerKind =
  | { readonly kind: 'tar'; readonly compression: LayerCompression }
  /** A tar that registries may not hold (Windows base layers): its bytes are elsewhere. */
  | { readonly kind: 'foreign' }
  | { readonly kind: 'rafs-blob' }
  | { readonly kind: 'unknown' };

const SUFFIXES: readonly (readonly [suffix: string, compression: LayerCompression])[] = [
  ['.tar', 'none'],
  ['.tar+gzip', 'gzip'],
  ['.tar.gzip', 'gzip'],
  ['.tar+zstd', 'zstd'],
  ['.tar.zstd', 'zstd'],
];
const TAR_BASES = ['application/vnd.oci.image.layer.v1', 'application/vnd.docker.image.rootfs.diff'];
const FOREIGN_BASES = [
  'application/vnd.oci.image.layer.nondistributable.v1',
  'application/vnd.docker.image.rootfs.foreign.diff',
];

export function layerKind(mediaType: string): LayerKind {
  if (mediaType === NYDUS_BLOB_MEDIA_TYPE) return { kind: 'rafs-blob' };
  for (const [suffix, compression] of SUFFIXES) {
    if (!mediaType.endsWith(suffix)) continue;
    const base = mediaType.slice(0, -suffix.length);
    if (TAR_BASES.includes(base)) return { kind: 'tar', compression };
    if (FOREIGN_BASES.includes(base)) return { kind: 'foreign' };
  }
  return { kind: 'unknown' };
}
