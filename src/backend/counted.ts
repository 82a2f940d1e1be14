// Counts what is really asked of a backend.
import type { BlobReader, BlobStream } from './blob-reader.ts';

export interface ReadCounters {
  requests: number;
  bytes: number;
  errors: number;
}

export function newReadCounters(): ReadCounters {
  return { requests: 0, bytes: 0, errors: 0 };
}

/** `reader`, with each call added to `counters`: requests when they start, bytes when they have arrived. */
export function counted(reader: BlobReader, counters: ReadCounters): BlobReader {
  const open = reader.open?.bind(reader);
  return {
    ...(open && { open: (...asked: Parameters<typeof open>) => countedStream(open(...asked), counters) }),
    name: `counted(${reader.name})`,
    async readAt(range, signal) {
      counters.requests++;
      try {
        const bytes = await reader.readAt(range, signal);
        counters.bytes += bytes.length;
        return bytes;
      } catch (error) {
        counters.errors++;
        throw error;
      }
    },
  };
}

async function countedStream(opening: Promise<BlobStream>, counters: ReadCounters): Promise<BlobStream> {
  counters.requests++;
  try {
    const stream = await opening;
    return { ...stream, pieces: countedPieces(stream.pieces, counters) };
  } catch (error) {
    counters.errors++;
    throw error;
  }
}

async function* countedPieces(pieces: AsyncIterable<Uint8Array>, counters: ReadCounters): AsyncGenerator<Uint8Array> {
  try {
    for await (const piece of pieces) {
      counters.bytes += piece.length;
      yield piece;
    }
  } catch (error) {
    counters.errors++;
    throw error;
  }
}
