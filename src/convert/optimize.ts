// An image rearranged for its start: what a trace names lies in one blob, in the order in which it is wanted, and a new
// bootstrap refers to it there. All other blobs stay as they are. docs/format/image.md#the-hot-blob
import { join } from 'node:path';
import { openDevices } from '../backend/devices.ts';
import { forEachBounded } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { BLOBS_IN_FLIGHT_MAX } from '../base/limits.ts';
import { NAIAD_ANNOTATIONS } from '../format/oci/annotations.ts';
import { digestHex, sha256Digest } from '../format/oci/digest.ts';
import { type JsonBlob, jsonBlob, manifestOf } from '../format/oci/documents.ts';
import { keptHistory } from '../format/oci/history.ts';
import type { JsonObject } from '../format/oci/json-reader.ts';
import type { Descriptor, ImageConfig, ImageManifest, RawManifest } from '../format/oci/manifest.ts';
import { MEDIA_TYPES } from '../format/oci/media-types.ts';
import { formatTrace, type Trace } from '../format/trace/trace.ts';
import type { BlobInfo } from '../image/blob-info.ts';
import { rewriteBootstrap } from '../image/bootstrap-rewrite.ts';
import type { Device } from '../image/device.ts';
import { planHotBlob } from '../image/hot-blob.ts';
import { matchTrace, type TraceApplied, type TraceMatch } from '../image/trace-chunks.ts';
import type { ConvertedImage } from '../transport/image.ts';
import type { ImageSource, ImageTarget } from '../transport/transport.ts';
import type { ConvertHooks } from './convert.ts';
import { type HotBlobOptions, writeHotBlob } from './hot-blob.ts';
import { type BootstrapLayer, blobDescriptor, writeBootstrapLayer } from './image-parts.ts';

export interface OptimizeReport {
  readonly manifest: string;
  /** Of the image it was made from, and of the trace. */
  readonly from: string;
  readonly trace: string;
  /** True when the trace was recorded of exactly that image. */
  readonly same: boolean;
  readonly applied: TraceApplied;
  readonly hot: {
    readonly blobId: string;
    /** Bytes as stored, those of its chunks alone, and uncompressed on the device. */
    readonly size: number;
    readonly dataSize: number;
    readonly uncompressedSize: number;
    readonly chunks: number;
  };
  /** Files with a chunk in the hot blob. */
  readonly files: number;
  /** Blobs taken over, those of which nothing is left, and bytes of the former that the target had already. */
  readonly keptBlobs: number;
  readonly droppedBlobs: number;
  readonly keptSize: number;
  readonly reusedSize: number;
  readonly bootstrapSize: number;
  readonly bootstrapStoredSize: number;
  readonly seconds: number;
}

/** An image that has all its parts: no bootstrap file. */
interface WholeImage {
  readonly image: ConvertedImage;
  readonly name: string;
  readonly source: ImageSource;
  readonly manifest: ImageManifest;
  readonly digest: string;
  readonly config: ImageConfig;
}

export interface OptimizeOptions extends Pick<HotBlobOptions, 'level'> {
  /** Where the blobs of the image lie as files that may be moved; they are streamed where it is left out. */
  readonly fileOf?: ((digest: string) => string) | undefined;
  /** What failures call the image, where its own name says nothing. */
  readonly name?: string | undefined;
}

/**
 * Optimizes `image` for `trace` and commits the result to `target`, which the caller opened and disposes.
 * @throws NaiadError TRACE_UNUSABLE when nothing of the trace is in the image; what reading and putting throw
 */
export async function optimize(
  image: ConvertedImage,
  trace: Trace,
  target: ImageTarget,
  options: OptimizeOptions,
  { signal, onProgress }: ConvertHooks,
): Promise<OptimizeReport> {
  const start = performance.now();
  const whole = wholeImage(image, options.name);
  const devices = await openDevices(image.bootstrap, (blobId) => image.blobReader(blobId), signal);
  const match = matched(trace, whole, devices);
  const plan = planHotBlob(devices, match.chunks);
  const path = join(target.spoolDir, 'hot-blob');
  const hot = await writeHotBlob({
    ...{ plan, devices, path, signal, level: options.level },
    readerOf: (blobId) => image.blobReader(blobId),
    onProgress: (state) => onProgress?.({ ...state, text: 'gathering what the start reads' }),
  });
  onProgress?.({ done: 0, text: 'writing the bootstrap' });
  const rewritten = rewriteBootstrap(image.bootstrap, hot, plan.moved);
  const layerPath = join(target.spoolDir, 'optimized-bootstrap');
  const { bytes } = rewritten;
  const layer = await writeBootstrapLayer({ size: bytes.length, pieces: [bytes] }, layerPath, signal);
  const kept = keptLayers(whole.manifest, rewritten.keptBlobIds);
  const traceDigest = sha256Digest(formatTrace(trace));
  const described = describeOptimized(whole, { kept, hot: hot, layer, traceDigest });

  const put = await putAll(whole.source, target, { ...options, kept, signal, onProgress });
  await target.putBlob({ path, descriptor: blobDescriptor(hot) }, { signal });
  await target.putBlob({ path: layerPath, descriptor: layer.descriptor }, { signal });
  await target.putBytes(described.config.descriptor, described.config.bytes, signal);
  await target.commit(described.manifest, signal);
  const { blobId, compressedSize: size, uncompressedSize, chunks } = hot;
  const dataSize = chunks.compressedOffset(chunks.count - 1) + chunks.compressedSize(chunks.count - 1);
  return {
    ...{ manifest: described.manifest.digest, from: whole.digest, trace: traceDigest },
    ...{ same: trace.image === whole.digest, applied: match.applied },
    hot: { blobId, size, dataSize, uncompressedSize, chunks: chunks.count },
    files: rewritten.files,
    keptBlobs: kept.length,
    droppedBlobs: image.bootstrap.blobs.length - kept.length,
    ...put,
    bootstrapSize: bytes.length,
    bootstrapStoredSize: layer.descriptor.size,
    seconds: (performance.now() - start) / 1000,
  };
}

function wholeImage(image: ConvertedImage, name = image.name): WholeImage {
  const { source, manifest, manifestDigest: digest, config } = image;
  if (source && manifest && digest !== undefined && config) return { image, name, source, manifest, digest, config };
  throw new NaiadError('USAGE', `${name}: a bootstrap alone has no manifest to make another one from`, {
    hint: 'Name the image where it lies: docker://, oci: or oci-archive:.',
  });
}

function matched(trace: Trace, { image, name, digest }: WholeImage, devices: readonly Device[]): TraceMatch {
  if (trace.touches.length === 0) {
    throw new NaiadError('TRACE_UNUSABLE', 'the trace is empty: nothing was read while it was recorded', {
      hint: 'Record one with a command that the image is for: naiad trace record.',
    });
  }
  const match = matchTrace(trace, { bootstrap: image.bootstrap, devices });
  if (match.chunks.length > 0) return match;
  const of = trace.image === undefined || trace.image === digest ? '' : `, and was recorded of ${trace.image}`;
  const [missing] = match.applied.missingPaths;
  const example = missing === undefined ? '' : ` (${missing}, for example)`;
  const what = `nothing of the trace is in ${name}${example}; it has ${trace.touches.length} touches${of}`;
  throw new NaiadError('TRACE_UNUSABLE', what, { hint: 'Record a trace of this image: naiad trace record.' });
}

/** Layers of the blobs that stay, as they were. The hot blob of an earlier time is one like others now. */
function keptLayers(manifest: ImageManifest, blobIds: readonly string[]): Descriptor[] {
  const layers = new Map(manifest.layers.slice(0, -1).map((layer) => [digestHex(layer.digest), layer]));
  return blobIds.map((blobId) => {
    const layer = layers.get(blobId);
    if (!layer) {
      throw new NaiadError('MANIFEST_INVALID', `blob ${blobId} of the bootstrap is not among the layers`, {
        hint: 'Images that were made with a chunk dict share blobs with others; those cannot be optimized.',
      });
    }
    const { [NAIAD_ANNOTATIONS.hot]: _hot, ...annotations } = layer.annotations ?? {};
    return { ...layer, annotations };
  });
}

/** Brings the blobs that stay to where the target has not got them. */
async function putAll(
  source: ImageSource,
  target: ImageTarget,
  options: OptimizeOptions & Pick<ConvertHooks, 'signal' | 'onProgress'> & { readonly kept: readonly Descriptor[] },
): Promise<{ readonly keptSize: number; readonly reusedSize: number }> {
  const { kept, fileOf, signal, onProgress } = options;
  const total = kept.reduce((sum, { size }) => sum + size, 0);
  const bytesOf = new Map<string, number>();
  let done = 0;
  let reusedSize = 0;
  await forEachBounded(kept, { inFlightMax: BLOBS_IN_FLIGHT_MAX, signal }, async (layer, own) => {
    const progress = (bytes: number) => {
      done += bytes - (bytesOf.get(layer.digest) ?? 0);
      bytesOf.set(layer.digest, bytes);
      onProgress?.({ done, total, text: 'bringing the other blobs' });
    };
    if (await target.hasBlob(layer, own)) {
      reusedSize += layer.size;
      progress(layer.size);
      return;
    }
    const putting = { signal: own, onProgress: progress };
    if (fileOf) return await target.putBlob({ path: fileOf(layer.digest), descriptor: layer }, putting);
    await target.putStream(layer, () => streamOf(source, layer, own), { ...putting, from: source.home });
  });
  return { keptSize: total, reusedSize };
}

async function* streamOf(source: ImageSource, blob: Descriptor, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  yield* await source.openBlob(blob, signal);
}

interface OptimizedParts {
  readonly kept: readonly Descriptor[];
  readonly hot: BlobInfo;
  readonly layer: BootstrapLayer;
  readonly traceDigest: string;
}

/** Config and manifest: those of the image, with other layers. */
function describeOptimized(
  { manifest, config, digest }: WholeImage,
  { kept, hot, layer, traceDigest }: OptimizedParts,
): { readonly config: JsonBlob; readonly manifest: RawManifest } {
  const plain = blobDescriptor(hot);
  const hotLayer = { ...plain, annotations: { ...plain.annotations, [NAIAD_ANNOTATIONS.hot]: 'true' } };
  const keptDigests = new Set(kept.map((one) => one.digest));
  const left = manifest.layers.map((one) => keptDigests.has(one.digest));
  const made = [
    { created_by: 'naiad optimize', comment: 'Blob of what a start reads' },
    { created_by: 'naiad optimize', comment: 'Nydus Bootstrap Layer' },
  ];
  // Of a blob its digest is that of its content: it is no archive.
  const diffIds = [...[...kept, hotLayer].map((one) => one.digest), layer.diffId];
  const history = [...keptHistory((config.raw as JsonObject).history, left), ...made];
  const document = { ...config.raw, rootfs: { type: 'layers', diff_ids: diffIds }, history };
  const written = jsonBlob(document, manifest.config.mediaType);
  const fields = {
    config: written.descriptor,
    layers: [...kept, hotLayer, layer.descriptor],
    annotations: {
      ...manifest.annotations,
      [NAIAD_ANNOTATIONS.optimizedFrom]: digest,
      [NAIAD_ANNOTATIONS.optimizedTrace]: traceDigest,
    },
  };
  return { config: written, manifest: manifestOf(MEDIA_TYPES.ociManifest, fields) };
}
