// A conversion between places as a user names them.
import { join } from 'node:path';
import { NaiadError } from '../base/errors.ts';
import { digestHex } from '../format/oci/digest.ts';
import type { Trace } from '../format/trace/trace.ts';
import { openConvertedImage } from '../transport/image.ts';
import { formatPlace, locate } from '../transport/locate.ts';
import { type OpenOptions, openSource, openTarget } from '../transport/open.ts';
import type { ImageTarget } from '../transport/transport.ts';
import { type ConvertHooks, type ConvertInput, type ConvertReport, convert } from './convert.ts';
import { directoryInput, imageInput } from './inputs.ts';
import { type OptimizeReport, optimize } from './optimize.ts';
import { type BuildOptions, checkBuildOptions } from './options.ts';

export interface ReferenceOptions extends BuildOptions {
  /** `os/architecture[/variant]`: which image of an index, or what a root directory is for. */
  readonly platform?: string | undefined;
  /** How registries are reached. */
  readonly registry?: OpenOptions['registry'];
  /** How that of the target is, when otherwise. */
  readonly targetRegistry?: OpenOptions['registry'];
  /** Optimizes the converted image for it at once. */
  readonly trace?: Trace | undefined;
}

export interface ReferenceReport extends ConvertReport {
  readonly source: string;
  readonly target: string;
  readonly optimized?: OptimizeReport;
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
  const { platform, registry, targetRegistry = registry } = options;
  const { signal } = hooks;
  const opening = { signal, ...(registry ? { registry } : {}) };
  const targetOpening = { signal, ...(targetRegistry ? { registry: targetRegistry } : {}) };
  const place = locate(from);
  if (formatPlace(place) === formatPlace(locate(to))) {
    throw new NaiadError('USAGE', `${from} is source and target`, {
      hint: 'Give the converted image another name: the original would be lost.',
    });
  }
  if (place.transport === 'dir') {
    const input = directoryInput(place.root, { platform, signal });
    await using target = await openTarget(to, targetOpening);
    const report = await convertInto(target, input, options, hooks);
    return { source: formatPlace(place), target: target.name, ...report };
  }
  await using source = await openSource(place, opening);
  const input = await imageInput(source, { platform, signal });
  await using target = await openTarget(to, targetOpening);
  const report = await convertInto(target, input, options, hooks);
  return { source: source.name, target: target.name, ...report };
}

/** With a trace, the image is converted beside the target first, and only what is left of it after optimizing is put there. */
async function convertInto(
  target: ImageTarget,
  input: ConvertInput,
  options: ReferenceOptions,
  hooks: ConvertHooks,
): Promise<ConvertReport & { readonly optimized?: OptimizeReport }> {
  const { trace } = options;
  if (!trace) return await convert(input, target, options, hooks);
  const directory = join(target.spoolDir, 'converted');
  const beside = { transport: 'oci', directory, tag: 'converted' } as const;
  await using local = await openTarget(beside);
  const report = await convert(input, local, options, hooks);
  const { platform } = options;
  await using image = await openConvertedImage(beside, { signal: hooks.signal, platform });
  const fileOf = (digest: string) => join(directory, 'blobs', 'sha256', digestHex(digest));
  const optimized = await optimize(image, trace, target, { fileOf, name: target.name }, hooks);
  const { manifest, reusedSize, bootstrapSize, bootstrapStoredSize } = optimized;
  const targetSize = optimized.keptSize + optimized.hot.size + bootstrapStoredSize;
  return { ...report, manifest, reusedSize, bootstrapSize, bootstrapStoredSize, targetSize, optimized };
}
