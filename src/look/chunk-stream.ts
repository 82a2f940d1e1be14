// Chunks straight from where the blobs are, verified, without a cache: for commands that read once.
import type { BlobReader } from '../backend/blob-reader.ts';
import { chunkOf, unpackUnit } from '../backend/chunk-content.ts';
import { planFetches } from '../backend/fetch-plan.ts';
import { throwIfAborted } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import type { Device } from '../image/device.ts';

/** Fetches ahead of the chunk being looked at: memory is this many times FETCH_SIZE_MAX. */
const FETCHES_AHEAD_MAX = 4;

export interface StreamedChunk {
  readonly index: number;
  /** Verified; valid until the next chunk is asked for. */
  readonly bytes: Uint8Array;
}

export interface ChunkStreamOptions {
  readonly signal?: AbortSignal | undefined;
  /** Gets chunks that are wrong, which are then left out; by default the first one is thrown. */
  readonly onBad?: (index: number, error: NaiadError) => void;
}

/** The chunks `indices` (ascending) of a device, in the order in which they are stored. */
export async function* streamChunks(
  device: Device,
  reader: BlobReader,
  indices: readonly number[],
  options: ChunkStreamOptions = {},
): AsyncIterable<StreamedChunk> {
  const plan = planFetches(device.chunks, indices);
  const own = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, own.signal]) : own.signal;
  const ahead: Promise<Uint8Array>[] = [];
  let planned = 0;
  const start = () => {
    while (planned < plan.length && ahead.length < FETCHES_AHEAD_MAX) {
      const { offset, size } = plan[planned++] as (typeof plan)[number];
      const bytes = reader.readAt({ offset, size }, signal);
      bytes.catch(() => undefined); // Whoever awaits it gets the error; after an early end nobody does.
      ahead.push(bytes);
    }
  };
  try {
    for (const fetch of plan) {
      start();
      const stored = await (ahead.shift() as Promise<Uint8Array>);
      throwIfAborted(options.signal);
      for (const unit of fetch.units) {
        const at = unit.compressedOffset - fetch.offset;
        yield* unitChunks(device, unit, stored.subarray(at, at + unit.compressedSize), options.onBad);
      }
    }
  } finally {
    own.abort();
  }
}

function* unitChunks(
  device: Device,
  unit: ReturnType<typeof planFetches>[number]['units'][number],
  stored: Uint8Array,
  onBad: ChunkStreamOptions['onBad'],
): Iterable<StreamedChunk> {
  let unpacked: Uint8Array | undefined;
  for (const index of unit.chunks) {
    let bytes: Uint8Array;
    try {
      unpacked ??= unpackUnit(device, unit, stored);
      bytes = chunkOf(device, index, unpacked);
    } catch (error) {
      if (!onBad || !(error instanceof NaiadError) || error.kind !== 'corrupt') throw error;
      onBad(index, error);
      continue;
    }
    yield { index, bytes };
  }
}
