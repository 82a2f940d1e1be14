// The blob that a start needs: chunks of the other blobs, in the order in which they are wanted, each content once. What it
// holds is decided here; src/convert/hot-blob.ts fetches and writes it.
import { NaiadError } from '../base/errors.ts';
import { CHUNKS_PER_BLOB_MAX } from '../base/limits.ts';
import { ChunkIndex } from '../chunk/chunk-index.ts';
import type { CompressorName, DigesterName } from '../format/rafs/algorithms.ts';
import type { Device } from './device.ts';
import type { ImageChunk } from './trace-chunks.ts';

export interface HotPlan {
  readonly compressor: Exclude<CompressorName, 'gzip'>;
  readonly digester: DigesterName;
  /** Where each chunk of the hot blob comes from, in its order. */
  readonly chunks: readonly ImageChunk[];
  /** By device and the chunk's index there, its index in the hot blob. Several may be one. */
  readonly moved: readonly ReadonlyMap<number, number>[];
}

/** `wanted` in order, of `devices`. @throws NaiadError LIMIT_EXCEEDED when a blob holds fewer chunks. */
export function planHotBlob(devices: readonly Device[], wanted: readonly ImageChunk[]): HotPlan {
  const chunks: ImageChunk[] = [];
  const moved = devices.map(() => new Map<number, number>());
  const digestAt = (index: number) => tableAt(devices, chunks[index] as ImageChunk).digest;
  const index = new ChunkIndex({
    digest: digestAt,
    hasContent: (at, digest, size) => {
      const known = tableAt(devices, chunks[at] as ImageChunk);
      return known.size === size && Buffer.compare(known.digest, digest) === 0;
    },
  });
  for (const place of wanted) {
    const { digest, size } = tableAt(devices, place);
    let at = index.find(digest, size);
    if (at === undefined) {
      at = chunks.push(place) - 1;
      index.add(digest, at);
    }
    moved[place.device]?.set(place.chunk, at);
  }
  if (chunks.length >= CHUNKS_PER_BLOB_MAX) {
    throw new NaiadError('LIMIT_EXCEEDED', `the trace comes to ${chunks.length} chunks, a blob holds fewer`);
  }
  const compressor = mostOf(devices, chunks, (device) => device.compressor);
  return {
    // Blobs in gzip are not written.
    compressor: compressor === 'gzip' ? 'zstd' : compressor,
    digester: mostOf(devices, chunks, (device) => device.digester),
    chunks,
    moved,
  };
}

function tableAt(devices: readonly Device[], { device, chunk }: ImageChunk): { digest: Uint8Array; size: number } {
  const { chunks } = devices[device] as Device;
  return { digest: chunks.digest(chunk), size: chunks.uncompressedSize(chunk) };
}

/** What most of the bytes have; of several the one that is met first. */
function mostOf<T>(devices: readonly Device[], chunks: readonly ImageChunk[], of: (device: Device) => T): T {
  const bytes = new Map<T, number>();
  for (const place of chunks) {
    const device = devices[place.device] as Device;
    bytes.set(of(device), (bytes.get(of(device)) ?? 0) + device.chunks.uncompressedSize(place.chunk));
  }
  const [[first] = []] = [...bytes].sort(([, a], [, b]) => b - a);
  if (first === undefined) throw new NaiadError('BUG', 'a hot blob without chunks was asked for');
  return first;
}
