// Writes down what a conversion makes of a layer, see layer-record.ts.
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { LAYER_RECORD_LINE_SIZE_MAX } from '../base/limits.ts';
import { systemError } from '../base/system-error.ts';
import { digesting } from '../codec/digesting.ts';
import type { ChunkTable } from '../image/chunk-table.ts';
import type { LayerEntry } from '../image/layer-entry.ts';
import { type ChunkRef, chunkIndexOf } from '../image/tree.ts';
import { LAYER_RECORD_FORMAT, LAYER_RECORD_VERSION, type LayerSummary } from './layer-record.ts';

/** Writes a record while the layer is converted. Files that are left of it are below the spool that `path` is in. */
export class LayerRecorder implements Disposable {
  readonly #path: string;
  readonly #entriesPath: string;
  readonly #stream;
  #entries = 0;
  #failure: unknown;
  /** Set when the layer is one that no record holds. */
  #tooLong = false;

  constructor(path: string) {
    this.#path = path;
    this.#entriesPath = `${path}.entries`;
    this.#stream = createWriteStream(this.#entriesPath);
    this.#stream.on('error', (error) => {
      this.#failure = error;
    });
  }

  /** `chunks` are those of a file, of the layer's blob. */
  async add(entry: LayerEntry, chunks: readonly ChunkRef[]): Promise<void> {
    if (this.#failure) throw systemError(this.#failure, `writing ${this.#entriesPath}`);
    const line = `${JSON.stringify(described(entry, chunks))}\n`;
    this.#tooLong ||= line.length > LAYER_RECORD_LINE_SIZE_MAX;
    if (this.#tooLong) return;
    this.#entries++;
    if (!this.#stream.write(line)) await once(this.#stream, 'drain');
  }

  /** The finished record; undefined for a layer that cannot have one. @throws NaiadError NO_SPACE, IO */
  async finish(summary: LayerSummary): Promise<{ readonly digest: string; readonly size: number } | undefined> {
    try {
      await pipeline([], this.#stream); // Ends it, and waits for what it has not written yet.
      if (this.#tooLong) return undefined;
      const { stream, result } = digesting();
      const header = headerOf(summary, this.#entries);
      const entriesPath = this.#entriesPath;
      const lines = async function* () {
        yield `${JSON.stringify(header)}\n`;
        if (summary.blob) yield* chunkLines(summary.blob.chunks);
        yield* createReadStream(entriesPath);
      };
      await pipeline(lines, createGzip(), stream, createWriteStream(this.#path));
      return result();
    } catch (error) {
      throw systemError(error, `writing ${this.#path}`);
    }
  }

  [Symbol.dispose](): void {
    this.#stream.destroy();
  }
}

function described(entry: LayerEntry, chunks: readonly ChunkRef[]): object {
  const { kind, path } = entry;
  const name = { kind, path: path.join('/') };
  if (kind === 'link') return { ...name, target: entry.target.join('/') };
  const { xattrs, ...attributes } = entry.attributes;
  const pairs = xattrs.map(({ name: key, value }) => [key, Buffer.from(value).toString('latin1')]);
  return {
    ...name,
    ...attributes,
    ...(pairs.length > 0 && { xattrs: pairs }),
    ...(kind === 'file' && { size: entry.size, chunks: chunks.map(chunkIndexOf) }),
    ...(kind === 'symlink' && { target: entry.target }),
    ...(kind === 'special' && { rdev: entry.rdev }),
  };
}

function headerOf({ blob, tarSize, chunks: cut, bytes }: LayerSummary, entries: number): object {
  const header = { format: LAYER_RECORD_FORMAT, version: LAYER_RECORD_VERSION, entries, tarSize, chunks: cut, bytes };
  if (!blob) return header;
  const { chunks, tocDigest, ...facts } = blob;
  const stored = { ...facts, chunkCount: chunks.count, tocDigest: Buffer.from(tocDigest).toString('hex') };
  return { ...header, blob: stored };
}

const LINES_PER_PIECE = 1000;

function* chunkLines(chunks: ChunkTable): Iterable<string> {
  for (let first = 0; first < chunks.count; first += LINES_PER_PIECE) {
    const count = Math.min(LINES_PER_PIECE, chunks.count - first);
    const rows = Array.from({ length: count }, (_, at) => JSON.stringify(chunkRow(chunks, first + at)));
    yield `${rows.join('\n')}\n`;
  }
}

function chunkRow(chunks: ChunkTable, index: number): object {
  return {
    digest: Buffer.from(chunks.digest(index)).toString('base64'),
    size: chunks.uncompressedSize(index),
    stored: chunks.compressedSize(index),
    crc32: chunks.crc32(index),
  };
}
