// A conversion between places as a user names them.
import { join } from 'node:path';
import { NaiadError } from '../base/errors.ts';
import { readOrigin } from '../format/oci/annotations.ts';
import { digestHex } from '../format/oci/digest.ts';
import { parseDocument, type RawManifest } from '../format/oci/manifest.ts';
import type { Trace } from '../format/trace/trace.ts';
import { openConvertedImage } from '../transport/image.ts';
import { formatPlace, isOnePlace, locate, refuseOnePlace } from '../transport/locate.ts';
import { type OpenOptions, openSource, openTarget } from '../transport/open.ts';
import { resolveImage } from '../transport/resolve.ts';
import type { ImageTarget } from '../transport/transport.ts';
import { BuildCache } from './build-cache.ts';
import type { BuildOptions } from './build-options.ts';
import { type ConvertHooks, type ConvertInput, type ConvertOptions, type ConvertReport, convert } from './convert.ts';
import {
  convertIndex,
  type IndexOptions,
  type IndexReport,
  indexFingerprint,
  planIndex,
  sourceDigest,
} from './convert-index.ts';
import { directoryInput, imageInput } from './inputs.ts';
import { type OptimizeReport, optimize } from './optimize.ts';
import { BUILDER, checkBuildOptions } from './options.ts';

export interface ReferenceOptions extends BuildOptions {
  /** `os/architecture[/variant]`: which image of an index, or what a root directory is for. */
  readonly platform?: string | undefined;
  /** How registries are reached. */
  readonly registry?: OpenOptions['registry'];
  /** How that of the target is, when otherwise. */
  readonly targetRegistry?: OpenOptions['registry'];
  /** Where to look for layers that were converted before, and to keep those of this conversion: a registry or layout. */
  readonly buildCache?: string | undefined;
  /** Optimizes the converted image for it at once. */
  readonly trace?: Trace | undefined;
}

export interface ReferenceReport extends ConvertReport {
  readonly source: string;
  readonly target: string;
  readonly optimized?: OptimizeReport;
}

export interface IndexReferenceReport extends IndexReport {
  readonly source: string;
  readonly target: string;
}

/**
 * Converts the image or root directory `from` into `to`. The target is opened after the source has been looked at, and
 * has nothing in it that was not committed.
 * @throws NaiadError whatever opening, reading, building and pushing throw
 */
export async function convertReference(
  from: string,
  to: string,
  options: ReferenceOptions,
  hooks: ConvertHooks,
): Promise<ReferenceReport> {
  checkBuildOptions(options);
  const { platform } = options;
  const { signal } = hooks;
  const { place, opening, targetOpening } = between(from, to, options, signal);
  refuseOnePlace(from, to, SAME_NAME_HINT);
  if (place.transport === 'dir') {
    if (options.buildCache !== undefined) throw noLayers(from);
    const input = directoryInput(place.root, platform);
    await using target = await openTarget(to, targetOpening);
    const report = await convertInto(target, input, options, hooks);
    return { source: formatPlace(place), target: target.name, ...report };
  }
  await using source = await openSource(place, opening);
  const image = await resolveImage(source, { platform, converted: 'skip', signal });
  const input = await imageInput(source, image, signal);
  await using cache = await openCache(options, to, targetOpening, hooks);
  await using target = await openTarget(to, targetOpening);
  const report = await convertInto(target, input, { ...options, cache }, hooks);
  await cache?.save();
  return { source: source.name, target: target.name, ...report };
}

/**
 * Converts images of `from` into an index, `to`. Both may be one name where the originals are kept in it.
 * @throws NaiadError whatever opening, reading, building and pushing throw
 */
export async function convertIndexReference(
  from: string,
  to: string,
  options: ReferenceOptions & IndexOptions,
  hooks: ConvertHooks,
): Promise<IndexReferenceReport> {
  checkBuildOptions(options);
  const { place, opening, targetOpening } = between(from, to, options, hooks.signal);
  if (options.trace) {
    throw new NaiadError('USAGE', 'a trace is of one image: not with --all-platforms or --with-original', {
      hint: 'Convert first, then: naiad optimize --trace FILE --platform OS/ARCH IMAGE TARGET',
    });
  }
  if (place.transport === 'dir') {
    throw new NaiadError('USAGE', `${from}: a root directory is one image, without an original`);
  }
  if (!options.withOriginal) refuseOnePlace(from, to, SAME_NAME_HINT);
  await using source = await openSource(place, opening);
  const plan = await planIndex(source, options, hooks.signal);
  await using cache = await openCache(options, to, targetOpening, hooks);
  await using target = await openTarget(to, targetOpening);
  const report = await convertIndex(source, plan, target, { ...options, cache }, hooks);
  await cache?.save();
  return { source: source.name, target: target.name, ...report };
}

/** In the registry of the target, or beside it. */
async function openCache(
  { buildCache }: ReferenceOptions,
  to: string,
  opening: OpenOptions,
  { onTrouble = () => undefined }: ConvertHooks,
): Promise<BuildCache | undefined> {
  if (buildCache === undefined) return undefined;
  if (isOnePlace(buildCache, to)) {
    throw new NaiadError('USAGE', `${to} is target and build cache`, {
      hint: 'Choose a tag of its own for the cache.',
    });
  }
  return await BuildCache.open(buildCache, { ...opening, onTrouble });
}

/**
 * What is at `to`, when that was made of what is at `from` now, by this version with the same options.
 * @throws NaiadError what opening and resolving the source throw
 */
export async function upToDate(
  from: string,
  to: string,
  options: ReferenceOptions & IndexOptions,
  signal: AbortSignal,
): Promise<{ readonly source: string; readonly target: string; readonly manifest: string } | undefined> {
  const { place, opening, targetOpening } = between(from, to, options, signal);
  // Of a directory nothing is known before it is read; what a trace made of an image, that image does not say.
  if (place.transport === 'dir' || options.trace) return undefined;
  const there = await rootAt(to, targetOpening);
  const origin = there && readOrigin(annotationsOf(there));
  if (!origin || origin.builder !== BUILDER || origin.options !== indexFingerprint(options)) return undefined;
  await using source = await openSource(place, opening);
  if (origin.digest !== (await sourceDigest(source, options, signal))) return undefined;
  return { source: source.name, target: formatPlace(locate(to)), manifest: there.digest };
}

/** The manifest or index at a target; undefined where there is none that can be read. */
async function rootAt(to: string, opening: OpenOptions): Promise<RawManifest | undefined> {
  try {
    await using target = await openSource(to, opening);
    return await target.rootManifest(opening.signal);
  } catch (error) {
    // Whoever may push need not be allowed to look. What else is wrong with a target is said when it is opened as one.
    if (error instanceof NaiadError && error.kind !== 'canceled') return undefined;
    throw error;
  }
}

function annotationsOf({ bytes, mediaType }: RawManifest) {
  const document = parseDocument(bytes, mediaType);
  return document.kind === 'index' ? document.index.annotations : document.manifest.annotations;
}

function between(from: string, to: string, options: ReferenceOptions, signal: AbortSignal) {
  const { registry, targetRegistry = registry } = options;
  locate(to);
  return {
    place: locate(from),
    opening: { signal, ...(registry ? { registry } : {}) },
    targetOpening: { signal, ...(targetRegistry ? { registry: targetRegistry } : {}) },
  };
}

function noLayers(from: string): NaiadError {
  return new NaiadError('USAGE', `${from}: a root directory has no layers that a build cache could know`);
}

const SAME_NAME_HINT =
  'Give the converted image another name, the original would be lost; or keep both with --with-original.';

/** With a trace, the image is converted beside the target first, and only what is left of it after optimizing is put there. */
async function convertInto(
  target: ImageTarget,
  input: ConvertInput,
  options: ReferenceOptions & Pick<ConvertOptions, 'cache'>,
  hooks: ConvertHooks,
): Promise<ConvertReport & { readonly optimized?: OptimizeReport }> {
  const { trace } = options;
  if (!trace) {
    const { report, manifest } = await convert(input, target, options, hooks);
    await target.commit(manifest, hooks.signal);
    return report;
  }
  const directory = join(target.spoolDir, 'converted');
  const beside = { transport: 'oci', directory, tag: 'converted' } as const;
  await using local = await openTarget(beside);
  const { report, manifest } = await convert(input, local, options, hooks);
  await local.commit(manifest, hooks.signal);
  const { platform } = options;
  await using image = await openConvertedImage(beside, { signal: hooks.signal, platform });
  const fileOf = (digest: string) => join(directory, 'blobs', 'sha256', digestHex(digest));
  const optimized = await optimize(image, trace, target, { fileOf, name: target.name }, hooks);
  const { reusedSize, bootstrapSize, bootstrapStoredSize } = optimized;
  const targetSize = optimized.keptSize + optimized.hot.size + bootstrapStoredSize;
  return {
    ...report,
    manifest: optimized.manifest,
    reusedSize,
    bootstrapSize,
    bootstrapStoredSize,
    targetSize,
    optimized,
  };
}
