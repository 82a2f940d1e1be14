// What an image is made of: manifest, config, layers; of a converted one also its bootstrap and blobs.

import { hotBlobIdsOf, isConverted } from '../format/oci/annotations.ts';
import type { Descriptor, ImageConfig, ImageManifest, RawManifest } from '../format/oci/manifest.ts';
import { formatPlatform } from '../format/oci/platform.ts';
import { COMPRESSORS, DIGESTERS } from '../format/rafs/algorithms.ts';
import { BLOB_FEATURES, SUPER_FLAGS } from '../format/rafs/records.ts';
import type { Bootstrap } from '../image/bootstrap-reader.ts';
import { openConvertedImage } from '../transport/image.ts';
import { locate } from '../transport/locate.ts';
import { type OpenOptions, openSource } from '../transport/open.ts';
import { readConfig, resolveImage } from '../transport/resolve.ts';

export interface InspectedBlob {
  readonly blobId: string;
  readonly compressor: string;
  readonly digester: string;
  readonly chunks: number;
  /** Stored bytes; 0 where only a bootstrap is at hand that does not say. */
  readonly compressedSize: number;
  readonly uncompressedSize: number;
  readonly features: readonly string[];
  /** True for the blob that holds what a start reads; left out for others. */
  readonly hot?: true;
}

export interface InspectedBootstrap {
  readonly size: number;
  readonly names: number;
  readonly chunkSize: number;
  readonly flags: readonly string[];
  readonly prefetch: number;
  readonly blobs: readonly InspectedBlob[];
}

export interface Inspection {
  readonly name: string;
  readonly kind: 'ordinary' | 'converted' | 'bootstrap';
  readonly manifest?: {
    readonly digest: string;
    readonly mediaType: string;
    readonly annotations: Readonly<Record<string, string>>;
  };
  readonly platform?: string;
  readonly created?: string;
  readonly config?: ImageConfig['config'];
  readonly layers: readonly Pick<Descriptor, 'mediaType' | 'digest' | 'size'>[];
  /** Bytes of all layers. */
  readonly size: number;
  readonly bootstrap?: InspectedBootstrap;
}

export interface InspectOptions extends OpenOptions {
  readonly platform?: string | undefined;
}

/** @throws NaiadError as opening the image does */
export async function inspectImage(reference: string, options: InspectOptions): Promise<Inspection> {
  if (locate(reference).transport === 'file') {
    await using image = await openConvertedImage(reference, options);
    return {
      name: image.name,
      kind: 'bootstrap',
      layers: [],
      size: 0,
      bootstrap: describeBootstrap(image.bootstrap),
    };
  }
  await using source = await openSource(reference, options);
  const { raw, manifest } = await resolveImage(source, { ...options, converted: 'prefer' });
  const { config } = await readConfig(source, manifest, options.signal);
  const common = describeImage(source.name, raw, manifest, config);
  if (!isConverted(manifest)) return { ...common, kind: 'ordinary' };
  await using image = await openConvertedImage(reference, options);
  return { ...common, kind: 'converted', bootstrap: describeBootstrap(image.bootstrap, hotBlobIdsOf(manifest)) };
}

/** The bytes of the manifest or config as they are stored. */
export async function rawDocument(
  reference: string,
  document: 'manifest' | 'config',
  options: InspectOptions,
): Promise<Uint8Array> {
  await using source = await openSource(reference, options);
  const { raw, manifest } = await resolveImage(source, { ...options, converted: 'prefer' });
  return document === 'manifest' ? raw.bytes : (await readConfig(source, manifest, options.signal)).bytes;
}

function describeImage(name: string, raw: RawManifest, manifest: ImageManifest, config: ImageConfig) {
  return {
    name,
    manifest: { digest: raw.digest, mediaType: raw.mediaType, annotations: manifest.annotations ?? {} },
    platform: formatPlatform(config),
    ...(config.created === undefined ? {} : { created: config.created }),
    config: config.config,
    layers: manifest.layers.map(({ mediaType, digest, size }) => ({ mediaType, digest, size })),
    size: manifest.layers.reduce((sum, { size }) => sum + size, 0),
  };
}

function describeBootstrap(bootstrap: Bootstrap, hotBlobIds: readonly string[] = []): InspectedBootstrap {
  const { flags } = bootstrap.tables.extSuperblock;
  return {
    size: bootstrap.bytes.length,
    names: bootstrap.inodeCount,
    chunkSize: bootstrap.chunkSize,
    flags: [...algorithmNames(flags), ...namesOf(SUPER_FLAGS, (bit) => (flags & bit) !== 0n)],
    prefetch: bootstrap.prefetchNids().length,
    blobs: bootstrap.blobs.map((blob) => ({
      blobId: blob.blobId,
      compressor: blob.compressor,
      digester: blob.digester,
      chunks: blob.chunkCount,
      compressedSize: blob.compressedSize,
      uncompressedSize: blob.uncompressedSize,
      features: namesOf(BLOB_FEATURES, (bit) => (blob.features & bit) !== 0),
      ...(hotBlobIds.includes(blob.blobId) && { hot: true as const }),
    })),
  };
}

function algorithmNames(flags: bigint): string[] {
  return namesOf({ ...COMPRESSORS, ...DIGESTERS }, ({ flag }) => (flags & BigInt(flag)) !== 0n);
}

function namesOf<T>(table: Readonly<Record<string, T>>, isSet: (value: T) => boolean): string[] {
  return Object.keys(table).filter((name) => isSet(table[name] as T));
}
