// Counts what is really asked of a backend.
import type { BlobReader } from './blob-reader.ts';

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
  return {
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
