// Traces beside images in registries: found, fetched and pushed. The image itself stays as it is.
import { NaiadError } from '../base/errors.ts';
import { TRACE_STORED_SIZE_MAX } from '../base/limits.ts';
import { createCompressor } from '../codec/codec.ts';
import { descriptorOf } from '../format/oci/documents.ts';
import { type Descriptor, parseManifest } from '../format/oci/manifest.ts';
import {
  isTraceName,
  TRACE_NAME_DEFAULT,
  type TraceEntry,
  traceArtifact,
  tracesAmong,
} from '../format/oci/trace-artifact.ts';
import { formatTrace, type Trace, tooLong } from '../format/trace/trace.ts';
import { formatPlace, locate } from '../transport/locate.ts';
import { type OpenOptions, openSource, openTarget } from '../transport/open.ts';
import { resolveImage } from '../transport/resolve.ts';
import type { ImageSource } from '../transport/transport.ts';
import { parseTraceStream } from './read-trace.ts';

export interface AttachedOptions extends OpenOptions {
  readonly platform?: string | undefined;
}

/** Traces beside the image with the manifest `subject`, by name; undefined where `source` is no registry. */
export async function tracesOf(
  source: ImageSource,
  subject: string,
  signal?: AbortSignal,
): Promise<readonly TraceEntry[] | undefined> {
  const found = await source.referrers?.(subject, signal);
  return found && tracesAmong(found);
}

/** @throws NaiadError TRACE_INVALID, LIMIT_EXCEEDED, what the source throws */
export async function fetchTrace(source: ImageSource, entry: TraceEntry, signal?: AbortSignal): Promise<Trace> {
  const layer = entry.layer ?? (await layerOf(source, entry, signal));
  if (layer.size > TRACE_STORED_SIZE_MAX) throw tooLong(`${layer.size} bytes`, `${TRACE_STORED_SIZE_MAX}`);
  return await parseTraceStream(await source.openBlob(layer, signal), signal);
}

async function layerOf(source: ImageSource, { manifest, name }: TraceEntry, signal?: AbortSignal): Promise<Descriptor> {
  const raw = await source.manifest(manifest, signal);
  const [layer, ...others] = parseManifest(raw.bytes, raw.mediaType).layers;
  if (layer && others.length === 0) return layer;
  throw new NaiadError('TRACE_INVALID', `${source.name}: the trace ${name} (${raw.digest}) has not one layer`);
}

/**
 * The trace that a mount uses: the one called `name`; for `auto` the one without a name of its own, or the only one.
 * @throws NaiadError TRACE_NOT_FOUND but for `auto`
 */
export function chooseTrace(traces: readonly TraceEntry[], name: string): TraceEntry | undefined {
  if (name === 'auto') {
    return traces.find((trace) => trace.name === TRACE_NAME_DEFAULT) ?? (traces.length === 1 ? traces[0] : undefined);
  }
  const found = traces.find((trace) => trace.name === name);
  if (found) return found;
  const names = traces.map((trace) => trace.name).join(', ');
  throw new NaiadError('TRACE_NOT_FOUND', `the image has no trace ${JSON.stringify(name)} beside it`, {
    hint: names === '' ? 'It has none: naiad trace push.' : `It has: ${names}.`,
  });
}

/** Opens an image's place and finds its traces. @throws NaiadError TRACE_NOT_FOUND where it is in no registry */
export async function listTraces(image: string, options: AttachedOptions): Promise<readonly TraceEntry[]> {
  await using source = await openSource(image, options);
  return await tracesOfImage(source, options);
}

async function tracesOfImage(source: ImageSource, options: AttachedOptions): Promise<readonly TraceEntry[]> {
  const { platform, signal } = options;
  const { raw } = await resolveImage(source, { platform, converted: 'prefer', signal });
  const traces = await tracesOf(source, raw.digest, signal);
  if (traces) return traces;
  throw notInRegistry(source.name);
}

function notInRegistry(name: string): NaiadError {
  return new NaiadError('TRACE_NOT_FOUND', `${name}: traces lie beside images in registries only`, {
    hint: 'Elsewhere keep them as files: naiad mount --prefetch-trace FILE.',
  });
}

/** A trace from beside an image. @throws NaiadError TRACE_NOT_FOUND, … */
export async function pullTrace(
  image: string,
  name: string,
  options: AttachedOptions,
): Promise<{ readonly entry: TraceEntry; readonly trace: Trace }> {
  await using source = await openSource(image, options);
  const traces = await tracesOfImage(source, options);
  const entry = chooseTrace(traces, name) ?? chooseTrace(traces, TRACE_NAME_DEFAULT);
  if (!entry) throw new NaiadError('BUG', 'a trace is chosen or missing');
  return { entry, trace: await fetchTrace(source, entry, options.signal) };
}

export interface PushedTrace {
  readonly image: string;
  /** Of the image's manifest, and of the trace's. */
  readonly subject: string;
  readonly digest: string;
  readonly layer: string;
  readonly name: string;
  readonly size: number;
}

/** Puts a trace beside an image in its registry; one of the same name is superseded. `created` is ISO 8601. */
export async function pushTrace(
  trace: Trace,
  image: string,
  naming: { readonly name: string; readonly created: string },
  options: AttachedOptions,
): Promise<PushedTrace> {
  const { name, created } = naming;
  const { platform, signal } = options;
  if (!isTraceName(name)) {
    throw new NaiadError('USAGE', `${JSON.stringify(name)} is no name of a trace`, {
      hint: 'Letters, digits, dots, dashes and underscores; at most 64.',
    });
  }
  const place = locate(image);
  if (place.transport !== 'docker') throw notInRegistry(formatPlace(place));
  await using source = await openSource(place, options);
  const { raw } = await resolveImage(source, { platform, converted: 'prefer', signal });
  const compressed = createCompressor('zstd')(formatTrace(trace));
  const artifact = traceArtifact(compressed, { subject: descriptorOf(raw), name, created });
  const { digest: _digest, ...reference } = place.reference;
  await using target = await openTarget({ transport: 'docker', reference }, options);
  await target.putBytes(artifact.config, artifact.configBytes, signal);
  await target.putBytes(artifact.layer, compressed, signal);
  await target.putManifest(artifact.manifest, signal);
  const { manifest, layer } = artifact;
  return {
    image: source.name,
    subject: raw.digest,
    digest: manifest.digest,
    layer: layer.digest,
    name,
    size: layer.size,
  };
}
