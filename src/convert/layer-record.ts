// What a conversion made of one layer, so that the next one need not read it: the blob's chunk table and the layer's
// entries, JSON Lines in gzip. docs/format/build-cache.md describes it. Anyone may have written one.
import type { ByteString } from '../base/bytes.ts';
import { NaiadError } from '../base/errors.ts';
import {
  CHUNKS_PER_BLOB_MAX,
  FILE_SIZE_MAX,
  LAYER_RECORD_LINE_SIZE_MAX,
  SYMLINK_SIZE_MAX,
  TREE_ENTRIES_MAX,
} from '../base/limits.ts';
import type { PagePool } from '../base/page-pool.ts';
import { alignUp } from '../base/units.ts';
import { decompressStream } from '../codec/stream.ts';
import { BLOCK_SIZE } from '../format/erofs/records.ts';
import { Complaint, JsonReader } from '../format/oci/json-reader.ts';
import type { BlobInfo } from '../image/blob-info.ts';
import { CHUNK_DIGEST_SIZE, ChunkTable } from '../image/chunk-table.ts';
import type { LayerEntry } from '../image/layer-entry.ts';
import {
  type Attributes,
  type ChunkRef,
  chunkRef,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from '../image/tree.ts';
import { splitPath } from '../tar/path.ts';
import { XattrCollector } from '../tar/xattrs.ts';

/** What a record says beside the entries. */
export interface LayerSummary {
  /** Undefined when the layer has no file data. */
  readonly blob: BlobInfo | undefined;
  readonly tarSize: number;
  /** Chunks of all files and their bytes, before any is shared. */
  readonly chunks: number;
  readonly bytes: number;
}

export const LAYER_RECORD_FORMAT = 'naiad-layer';
export const LAYER_RECORD_VERSION = 1;

export interface RecordedEntry {
  /** A file's body is empty. */
  readonly entry: LayerEntry;
  readonly chunks: readonly ChunkRef[];
}

export interface LayerRecord {
  readonly summary: LayerSummary;
  /** Once, in the order in which they were recorded. @throws NaiadError ARCHIVE_INVALID */
  readonly entries: AsyncIterable<RecordedEntry>;
}

export interface RecordOptions {
  /** Of the chunk references. */
  readonly blobIndex: number;
  readonly chunkSize: number;
  readonly compressor: BlobInfo['compressor'];
  readonly digester: BlobInfo['digester'];
  readonly memory?: PagePool | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Reads a record as it is stored. @throws NaiadError ARCHIVE_INVALID when it is none, and what `stored` throws */
export async function readLayerRecord(stored: AsyncIterable<Uint8Array>, options: RecordOptions): Promise<LayerRecord> {
  const lines = linesOf(decompressStream(stored, { signal: options.signal }));
  const { summary, entries } = await complaining(async () => readHead(lines, options));
  return { summary, entries: readEntries(lines, entries, summary.blob?.chunks, options) };
}

async function readHead(lines: Lines, options: RecordOptions): Promise<{ summary: LayerSummary; entries: number }> {
  const header = await nextLine(lines, 'the header');
  if (header.string('format') !== LAYER_RECORD_FORMAT || header.size('version') !== LAYER_RECORD_VERSION) {
    throw new Complaint(`no record of a layer, or not of version ${LAYER_RECORD_VERSION}`);
  }
  const blob = header.optionalObject('blob');
  return {
    entries: atMost(header, 'entries', TREE_ENTRIES_MAX),
    summary: {
      blob: blob && (await readBlob(blob, lines, options)),
      tarSize: header.size('tarSize'),
      chunks: header.size('chunks'),
      bytes: header.size('bytes'),
    },
  };
}

async function readBlob(blob: JsonReader, lines: Lines, options: RecordOptions): Promise<BlobInfo> {
  const { compressor, digester } = options;
  const ciCompressor = blob.string('ciCompressor');
  if (blob.string('compressor') !== compressor || blob.string('digester') !== digester) {
    throw new Complaint('made with other options');
  }
  if (ciCompressor !== compressor && ciCompressor !== 'none') throw new Complaint(`ciCompressor is ${ciCompressor}`);
  const chunks = new ChunkTable(options.memory);
  const count = atMost(blob, 'chunkCount', CHUNKS_PER_BLOB_MAX);
  let compressedOffset = 0;
  let uncompressedOffset = 0;
  for (let index = 0; index < count; index++) {
    const row = await nextLine(lines, `chunk ${index}`);
    const digest = Buffer.from(row.string('digest'), 'base64');
    const size = atMost(row, 'size', options.chunkSize);
    const stored = atMost(row, 'stored', size);
    if (digest.length !== CHUNK_DIGEST_SIZE || size === 0) throw new Complaint(`chunk ${index} is none`);
    const place = { compressedOffset, compressedSize: stored, uncompressedOffset, uncompressedSize: size };
    chunks.add({ ...place, compressed: stored !== size, crc32: atMost(row, 'crc32', 2 ** 32 - 1) }, digest);
    compressedOffset += stored;
    uncompressedOffset = alignUp(uncompressedOffset + size, BLOCK_SIZE);
  }
  return {
    blobId: hex(blob, 'blobId'),
    ...{ compressor, digester, ciCompressor, chunks },
    features: atMost(blob, 'features', 2 ** 32 - 1),
    compressedSize: blob.size('compressedSize'),
    uncompressedSize: uncompressedOffset,
    ciOffset: blob.size('ciOffset'),
    ciCompressedSize: blob.size('ciCompressedSize'),
    ciUncompressedSize: blob.size('ciUncompressedSize'),
    tocSize: blob.size('tocSize'),
    tocDigest: Buffer.from(hex(blob, 'tocDigest'), 'hex'),
  };
}

async function* readEntries(
  lines: Lines,
  count: number,
  chunks: ChunkTable | undefined,
  options: RecordOptions,
): AsyncGenerator<RecordedEntry> {
  const xattrs = new XattrCollector(() => {
    throw new Complaint('an extended attribute that no image holds');
  });
  for (let index = 0; index < count; index++) {
    yield await complaining(async () => {
      const line = await nextLine(lines, `entry ${index}`);
      const entry = readEntry(line, xattrs);
      return { entry, chunks: entry.kind === 'file' ? readChunks(line, entry.size, chunks, options) : [] };
    });
  }
  const more = await lines.next();
  if (!more.done) throw invalid(`more than its ${count} entries`);
}

function readEntry(line: JsonReader, xattrs: XattrCollector): LayerEntry {
  const kind = line.string('kind');
  const path = splitPath(bytesIn(line, 'path'));
  if (kind === 'link') return { kind, path, target: splitPath(bytesIn(line, 'target')) };
  for (const [name, value] of pairs(line, 'xattrs')) xattrs.add(name, value);
  const mode = atMost(line, 'mode', 0o177777);
  const attributes: Attributes = {
    ...{ mode, uid: atMost(line, 'uid', 2 ** 32 - 1), gid: atMost(line, 'gid', 2 ** 32 - 1) },
    ...{ mtimeSec: seconds(line), mtimeNsec: atMost(line, 'mtimeNsec', 999_999_999), xattrs: xattrs.take() },
  };
  const types: readonly number[] = TYPES[kind] ?? [];
  if (!types.includes(mode & S_IFMT)) throw new Complaint(`a ${kind} of mode 0${mode.toString(8)}`);
  switch (kind) {
    case 'directory':
      return { kind, path, attributes };
    case 'symlink':
      return { kind, path, attributes, target: bytesIn(line, 'target', SYMLINK_SIZE_MAX) };
    case 'special':
      return { kind, path, attributes, rdev: atMost(line, 'rdev', 2 ** 32 - 1) };
    default:
      return { kind: 'file', path, attributes, size: atMost(line, 'size', FILE_SIZE_MAX), body: NOTHING };
  }
}

const TYPES: Readonly<Record<string, readonly number[]>> = {
  directory: [S_IFDIR],
  file: [S_IFREG],
  symlink: [S_IFLNK],
  special: [S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK],
};
const NOTHING: AsyncIterable<Uint8Array> = { async *[Symbol.asyncIterator]() {} };

/** Each as long as the file's part that it is to hold. */
function readChunks(
  { value: { chunks } }: JsonReader,
  size: number,
  table: ChunkTable | undefined,
  options: RecordOptions,
): readonly ChunkRef[] {
  const { blobIndex, chunkSize } = options;
  if (!Array.isArray(chunks) || chunks.length !== Math.ceil(size / chunkSize))
    throw new Complaint('chunks are missing');
  return chunks.map((index: unknown, at) => {
    const isOne = typeof index === 'number' && Number.isInteger(index) && index >= 0 && index < (table?.count ?? 0);
    if (!isOne || table?.uncompressedSize(index) !== Math.min(chunkSize, size - at * chunkSize)) {
      throw new Complaint(`chunk ${index} is not of the file's size`);
    }
    return chunkRef(blobIndex, index);
  });
}

function atMost(reader: JsonReader, key: string, max: number): number {
  const value = reader.size(key);
  if (value > max) throw new Complaint(`${key} is ${value}, at most ${max}`);
  return value;
}

function seconds({ value }: JsonReader): number {
  const { mtimeSec } = value;
  if (typeof mtimeSec !== 'number' || !Number.isSafeInteger(mtimeSec)) throw new Complaint('mtimeSec is no time');
  return mtimeSec;
}

function hex(reader: JsonReader, key: string): string {
  const text = reader.string(key);
  if (!/^[0-9a-f]{64}$/.test(text)) throw new Complaint(`${key} is no sha256`);
  return text;
}

/** Bytes as characters below 256. */
function bytesIn({ value }: JsonReader, key: string, max = LAYER_RECORD_LINE_SIZE_MAX): ByteString {
  const text = value[key];
  if (typeof text !== 'string' || text.length > max || /[^\0-\xff]/.test(text))
    throw new Complaint(`${key} is no text`);
  return text;
}

function pairs({ value }: JsonReader, key: string): [string, string][] {
  const list = value[key] ?? [];
  if (!Array.isArray(list) || !list.every((pair) => Array.isArray(pair) && pair.length === 2)) {
    throw new Complaint(`${key} is no list of pairs`);
  }
  return list.map(([name, text]) => [String(name), String(text)]);
}

type Lines = AsyncIterator<Uint8Array>;

async function nextLine(lines: Lines, what: string): Promise<JsonReader> {
  const next = await lines.next();
  if (next.done) throw new Complaint(`it ends before ${what}`);
  return JsonReader.parse(next.value, what);
}

/** Lines without their ends. */
async function* linesOf(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let rest = Buffer.alloc(0);
  for await (const piece of bytes) {
    const all =
      rest.length === 0 ? Buffer.from(piece.buffer, piece.byteOffset, piece.length) : Buffer.concat([rest, piece]);
    let start = 0;
    for (let end = all.indexOf(10); end >= 0; end = all.indexOf(10, start)) {
      yield all.subarray(start, end);
      start = end + 1;
    }
    rest = Buffer.from(all.subarray(start));
    if (rest.length > LAYER_RECORD_LINE_SIZE_MAX) throw invalid('a line is too long');
  }
  if (rest.length > 0) throw invalid('it ends inside a line');
}

async function complaining<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw error instanceof Complaint ? invalid(error.message) : error;
  }
}

function invalid(message: string): NaiadError {
  return new NaiadError('ARCHIVE_INVALID', `record of a layer: ${message}`);
}
