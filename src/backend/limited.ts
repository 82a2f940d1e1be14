// Bounds how many reads are in flight, over as many readers as share the lanes.
import { type Lanes, throwIfAborted } from '../base/concurrency.ts';
import type { BlobReader } from './blob-reader.ts';

/** `reader`, waiting for a free lane before each read; in order of asking. */
export function limited(reader: BlobReader, lanes: Lanes): BlobReader {
  return {
    name: `limited(${reader.name})`,
    async readAt(range, signal) {
      using _lane = await lanes.acquire();
      throwIfAborted(signal);
      return await reader.readAt(range, signal);
    },
  };
}
