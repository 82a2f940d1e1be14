// Several images converted into one index: every platform of the source, beside the originals where that is wanted.
// What the parts of such an index are marked with: docs/format/image.md#an-index
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { NaiadError } from '../base/errors.ts';
import {
  isConvertedEntry,
  NYDUS_CONFIG_MEDIA_TYPE,
  NYDUS_MANIFEST_ARTIFACT_TYPE,
  originAnnotations,
  readOrigin,
} from '../format/oci/annotations.ts';
import { descriptorOf, manifestOf } from '../format/oci/documents.ts';
import type { JsonObject } from '../format/oci/json-reader.ts';
import {
  type Descriptor,
  type ImageIndex,
  type Platform,
  parseDocument,
  parseManifest,
  type RawManifest,
} from '../format/oci/manifest.ts';
import { isManifestMediaType, MEDIA_TYPES } from '../format/oci/media-types.ts';
import { formatPlatform } from '../format/oci/platform.ts';
import { copyContents } from '../transport/copy.ts';
import { type ResolvedImage, readConfig, resolveImage } from '../transport/resolve.ts';
import type { ImageSource, ImageTarget } from '../transport/transport.ts';
import type { BuildOptions } from './build-options.ts';
import { type ConvertHooks, type ConvertOptions, type ConvertReport, convert } from './convert.ts';
import { imageInput, referenceOf } from './inputs.ts';
import { BUILDER, fingerprint } from './options.ts';

export interface IndexOptions extends BuildOptions, Pick<ConvertOptions, 'cache'> {
  /** `os/architecture[/variant]`: the one image that is converted, where not all are. */
  readonly platform?: string | undefined;
  /** Every image for Linux of an index. */
  readonly allPlatforms?: boolean | undefined;
  /** Names the originals as well, before the converted ones: who cannot mount those finds what there was. */
  readonly withOriginal?: boolean | undefined;
}

export interface IndexReport {
  /** Digest of the index. */
  readonly manifest: string;
  readonly images: readonly (ConvertReport & { readonly platform: string })[];
  /** Platforms of the source that were not converted. */
  readonly leftOut: readonly string[];
}

/** What there is to convert, and what the index says besides. */
export interface IndexPlan {
  /** Of what the index is made: an index, or the one image that was chosen. */
  readonly digest: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly images: readonly { readonly raw: RawManifest; readonly platform: Platform }[];
  /** Entries of the originals, as they are in the source. */
  readonly originals: readonly JsonObject[];
  readonly leftOut: readonly string[];
}

/** What decides the bytes of an index, as it says it. */
export function indexFingerprint(options: IndexOptions): string {
  const words = [fingerprint(options)];
  if (options.allPlatforms) words.push('all-platforms');
  if (options.withOriginal) words.push('with-original');
  return words.join(' ');
}

/** Digest of what an index or image would be made of, as it is recorded there. */
export async function sourceDigest(source: ImageSource, options: IndexOptions, signal: AbortSignal): Promise<string> {
  if (!options.allPlatforms) {
    const { platform } = options;
    return (await resolveImage(source, { platform, converted: 'skip', signal })).raw.digest;
  }
  const root = await source.rootManifest(signal);
  const document = parseDocument(root.bytes, root.mediaType);
  return document.kind === 'index' ? originalDigest(document.index, root.digest) : root.digest;
}

/** An index of both kinds, which is converted again in its place, is made of what it was made of the first time. */
function originalDigest({ manifests, annotations }: ImageIndex, digest: string): string {
  return manifests.some(isConvertedEntry) ? (readOrigin(annotations)?.digest ?? digest) : digest;
}

/**
 * Converts the images of `source` that are in its `plan`, one after the other, and commits an index of them to `target`.
 * @throws NaiadError whatever reading, building and pushing throw
 */
export async function convertIndex(
  source: ImageSource,
  plan: IndexPlan,
  target: ImageTarget,
  options: IndexOptions,
  hooks: ConvertHooks,
): Promise<IndexReport> {
  const { signal } = hooks;
  const images: (ConvertReport & { readonly platform: string })[] = [];
  const entries: Descriptor[] = [];
  for (const [index, { raw, platform }] of plan.images.entries()) {
    const name = formatPlatform(platform);
    const input = await imageInput(source, { raw, manifest: parseManifest(raw.bytes, raw.mediaType) }, signal);
    const spoolDir = join(target.spoolDir, `image-${index}`);
    await mkdir(spoolDir);
    const beside = options.withOriginal ? { configMediaType: NYDUS_CONFIG_MEDIA_TYPE } : {};
    const { report, manifest } = await convert(
      input,
      target,
      { ...options, spoolDir, ...beside },
      { signal, onProgress: (state) => hooks.onProgress?.({ ...state, text: `${name}: ${state.text}` }) },
    );
    await target.putManifest(manifest, signal);
    images.push({ ...report, platform: name });
    entries.push({
      ...descriptorOf(manifest),
      platform,
      ...(options.withOriginal && { artifactType: NYDUS_MANIFEST_ARTIFACT_TYPE }),
    });
  }
  if (options.withOriginal) {
    const known = new Map(plan.images.map(({ raw }) => [raw.digest, raw]));
    const originals = await Promise.all(
      (plan.originals as unknown as Descriptor[]).map(
        (entry) => known.get(entry.digest) ?? source.manifest(entry, signal),
      ),
    );
    await copyContents(source, target, originals, {
      signal,
      onProgress: (state) => hooks.onProgress?.({ ...state, text: 'copying the originals' }),
    });
  }
  const index = buildIndex(source, plan, entries, options);
  await target.commit(index, signal);
  return { manifest: index.digest, images, leftOut: plan.leftOut };
}

/**
 * Looks for what is to be converted.
 * @throws NaiadError PLATFORM_NOT_FOUND when there is nothing; whatever reading throws
 */
export async function planIndex(source: ImageSource, options: IndexOptions, signal: AbortSignal): Promise<IndexPlan> {
  const { platform, allPlatforms } = options;
  if (!allPlatforms)
    return await planImage(source, await resolveImage(source, { platform, converted: 'skip', signal }), signal);
  const root = await source.rootManifest(signal);
  const document = parseDocument(root.bytes, root.mediaType);
  if (document.kind === 'manifest') {
    return await planImage(source, { raw: root, manifest: document.manifest, entry: undefined }, signal);
  }
  const { manifests, annotations = {}, raw } = document.index;
  const candidates = manifests.filter((entry) => !isConvertedEntry(entry));
  const chosen = candidates.filter(isForLinux);
  if (chosen.length === 0) {
    throw new NaiadError('PLATFORM_NOT_FOUND', `${source.name}: the index has no image for Linux`);
  }
  const images = chosen.map(async (entry) => ({
    raw: await source.manifest(entry, signal),
    platform: entry.platform as Platform,
  }));
  const originals = (raw.manifests as JsonObject[]).filter((_, at) => !isConvertedEntry(manifests[at] as Descriptor));
  const others = candidates.filter((entry) => !chosen.includes(entry));
  return {
    digest: originalDigest(document.index, root.digest),
    annotations,
    images: await Promise.all(images),
    originals,
    leftOut: others.map((other) => (other.platform ? formatPlatform(other.platform) : '(no platform)')),
  };
}

/** An index of one image. */
async function planImage(
  source: ImageSource,
  { raw, manifest, entry }: Omit<ResolvedImage, 'root'>,
  signal: AbortSignal,
): Promise<IndexPlan> {
  const platform = entry?.platform ?? platformOf((await readConfig(source, manifest, signal)).config);
  return {
    digest: raw.digest,
    annotations: {},
    images: [{ raw, platform }],
    originals: [{ ...descriptorOf(raw), platform }],
    leftOut: [],
  };
}

/** Attestations name no system; other systems cannot mount what is made here. */
function isForLinux({ mediaType, platform }: Descriptor): boolean {
  return platform?.os === 'linux' && isManifestMediaType(mediaType);
}

function platformOf({ os, architecture, variant }: Platform): Platform {
  return { os, architecture, ...(variant && { variant }) };
}

function buildIndex(
  source: ImageSource,
  { digest, annotations, originals }: IndexPlan,
  entries: readonly Descriptor[],
  options: IndexOptions,
): RawManifest {
  const origin = { digest, ...referenceOf(source), builder: BUILDER, options: indexFingerprint(options) };
  return manifestOf(MEDIA_TYPES.ociIndex, {
    manifests: [...(options.withOriginal ? originals : []), ...entries],
    annotations: { ...annotations, ...originAnnotations(origin) },
  });
}
