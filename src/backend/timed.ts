// Measures what a backend takes to answer.
import type { BlobReader } from './blob-reader.ts';

/** Seconds and bytes of a read; undefined bytes when it failed. */
export type OnRead = (seconds: number, bytes: number | undefined) => void;

/** `reader`, telling `onRead` of each call when it ends. */
export function timed(reader: BlobReader, onRead: OnRead): BlobReader {
  return {
    name: `timed(${reader.name})`,
    async readAt(range, signal) {
      const began = performance.now();
      let size: number | undefined;
      try {
        const bytes = await reader.readAt(range, signal);
        size = bytes.length;
        return bytes;
      } finally {
        onRead((performance.now() - began) / 1000, size);
      }
    },
  };
}
