// Measures what a backend takes to answer.
import type { BlobReader, BlobStream } from './blob-reader.ts';

/** Seconds and bytes of a read; undefined bytes when it failed. */
export type OnRead = (seconds: number, bytes: number | undefined) => void;

/** `reader`, telling `onRead` of each call when it ends. */
export function timed(reader: BlobReader, onRead: OnRead): BlobReader {
  const open = reader.open?.bind(reader);
  return {
    ...(open && { open: (...asked: Parameters<typeof open>) => timedStream(() => open(...asked), onRead) }),
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

async function timedStream(open: () => Promise<BlobStream>, onRead: OnRead): Promise<BlobStream> {
  const began = performance.now();
  const ended = (bytes: number | undefined) => onRead((performance.now() - began) / 1000, bytes);
  try {
    const stream = await open();
    return { ...stream, pieces: timedPieces(stream.pieces, ended) };
  } catch (error) {
    ended(undefined);
    throw error;
  }
}

/** A stream that its reader leaves early has brought what was wanted of it. */
async function* timedPieces(
  pieces: AsyncIterable<Uint8Array>,
  ended: (bytes: number | undefined) => void,
): AsyncGenerator<Uint8Array> {
  let bytes: number | undefined = 0;
  try {
    for await (const piece of pieces) {
      bytes += piece.length;
      yield piece;
    }
  } catch (error) {
    bytes = undefined;
    throw error;
  } finally {
    ended(bytes);
  }
}
