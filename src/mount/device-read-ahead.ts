// Sees that a device is read on where it was read before, and says how far ahead to fetch. The kernel does not say which file
// it reads: what follows on the device follows in the file until a chunk that is not full, where a file ends. Many files are
// read at a time.
import type { ByteRange } from '../backend/blob-reader.ts';
import { FETCH_SIZE_MAX } from '../base/limits.ts';
import { KiB } from '../base/units.ts';
import type { ChunkTable } from '../image/chunk-table.ts';

/** Places followed at once; the one longest without a miss is forgotten. */
const STREAMS_MAX = 32;
/** The kernel reads ahead with requests of this size at most, a few at a time, which may come in any order. */
const REORDER_SPAN_MAX = 512 * KiB;
/** By so many times its own size a read may be out of order: one of a single page that is near another is no stream. */
const REORDER_READS = 2;
/** So many files read one behind the other are a walk through the tree; two or three are a program that starts. */
const FILES_WALKED_MIN = 4;

interface Stream {
  /** End of the furthest read that had to wait. */
  readonly end: number;
  /** What to fetch behind that, and where the last chunk of it ends. */
  readonly ahead: number;
  readonly until: number;
  readonly window: number;
  /** Of the largest read. */
  readonly size: number;
  /** Ends of files that it has passed. */
  readonly files: number;
}

export class DeviceReadAhead {
  readonly #chunks: ChunkTable;
  readonly #chunkSize: number;
  /** The one last used is last. */
  readonly #streams: Stream[] = [];

  /** `chunks` of the device, of at most `chunkSize` bytes each. */
  constructor(chunks: ChunkTable, chunkSize: number) {
    this.#chunks = chunks;
    this.#chunkSize = chunkSize;
  }

  /**
   * Called for each read that had to wait. Returns how many bytes behind its end to fetch as well: none at a new place, or
   * where several readers want the same; then twice as many each time the reads go on where the fetched part ended, up to
   * the end of the file.
   */
  afterMiss(offset: number, size: number): number {
    const at = this.#streams.findIndex((stream) => follows(stream, { offset, size }));
    const [stream] = at < 0 ? [] : this.#streams.splice(at, 1);
    const next = stream ? this.#after(stream, { offset, size }) : this.#begun({ offset, size }, 0);
    this.#streams.push(next);
    if (this.#streams.length > STREAMS_MAX) this.#streams.shift();
    return next === stream ? 0 : next.ahead;
  }

  #begun({ offset, size }: ByteRange, files: number): Stream {
    return { end: offset + size, ahead: 0, until: this.#chunkEnd(offset + size), window: 0, size, files };
  }

  #after(stream: Stream, { offset, size }: ByteRange): Stream {
    const end = offset + size;
    if (end <= stream.end) return stream;
    const files = stream.files + (this.#fileEnd(stream.end, offset + 1) <= offset ? 1 : 0);
    const walks = files >= FILES_WALKED_MIN;
    if (files > stream.files && !walks) return this.#begun({ offset, size }, files);
    const window = Math.min(FETCH_SIZE_MAX, Math.max(this.#chunkSize, size, stream.window * 2));
    const ahead = walks ? window : this.#fileEnd(end, end + window) - end;
    return { end, ahead, until: this.#chunkEnd(end + ahead), window, size: Math.max(size, stream.size), files };
  }

  /** Where the chunk ends that holds the byte before `position`: it was fetched to there. */
  #chunkEnd(position: number): number {
    const index = this.#chunks.indexAt(position - 1) ?? 0;
    return index + 1 < this.#chunks.count ? this.#chunks.uncompressedOffset(index + 1) : position;
  }

  /** Where the file ends that has the byte before `position`; `most` where it goes on until there at least. */
  #fileEnd(position: number, most: number): number {
    const chunks = this.#chunks;
    for (let index = chunks.indexAt(position - 1) ?? 0; index + 1 < chunks.count; index++) {
      const next = chunks.uncompressedOffset(index + 1);
      if (next > most) break;
      if (chunks.uncompressedSize(index) < this.#chunkSize) return next;
    }
    return most;
  }
}

function follows(stream: Stream, { offset, size }: ByteRange): boolean {
  const span = Math.min(REORDER_SPAN_MAX, REORDER_READS * Math.max(size, stream.size));
  return offset + span >= stream.end && offset <= stream.until + span;
}
