// A trace meets an image: which of its chunks the touches mean. The image may be another one than the trace was recorded
// of; what has the same content is found wherever it is now, and of a file that has changed the same place is taken.
import { type ByteString, displayBytes } from '../base/bytes.ts';
import { NaiadError } from '../base/errors.ts';
import { TREE_ENTRIES_MAX } from '../base/limits.ts';
import { runSteps, type Steps } from '../base/steps.ts';
import { ChunkIndex } from '../chunk/chunk-index.ts';
import type { Touch, Trace } from '../format/trace/trace.ts';
import type { Bootstrap } from './bootstrap-reader.ts';
import { CHUNK_DIGEST_SIZE } from './chunk-table.ts';
import type { Device } from './device.ts';
import { resolvePath } from './image-path.ts';
import { S_IFDIR, S_IFMT, S_IFREG } from './tree.ts';
import { walk } from './walk.ts';

/** A chunk of an image: `chunk` is its index in the chunk table of device `device`. */
export interface ImageChunk {
  readonly device: number;
  readonly chunk: number;
}

/** What a trace is matched against. */
export interface TracedImage {
  readonly bootstrap: Bootstrap;
  /** In blob order. */
  readonly devices: readonly Device[];
}

/** `content`: the very bytes. `path`: what is there now, under the path. `missing`: neither. */
export type MatchKind = 'content' | 'path' | 'missing';

/** How much of a trace applies to an image. */
export interface TraceApplied {
  readonly touches: number;
  readonly byContent: number;
  readonly byPath: number;
  readonly missing: number;
  /** Files that the trace names, and those of them of which something applies. */
  readonly tracedFiles: number;
  readonly appliedFiles: number;
  /** Bytes of the touches, as the trace has them, and of those that apply; 0 where it names paths alone. */
  readonly tracedBytes: number;
  readonly appliedBytes: number;
  /** Chunks of the image that they come to, their bytes, and those as they are stored. */
  readonly chunks: number;
  readonly bytes: number;
  readonly storedBytes: number;
  /** Some of the files of which nothing applies, for people. */
  readonly missingPaths: readonly string[];
}

export interface TraceMatch {
  /** In first-touch order, none twice. */
  readonly chunks: readonly ImageChunk[];
  readonly applied: TraceApplied;
}

/** Names and chunks looked at for one trace: hostile ones name everything again and again. */
const STEPS_MAX = 2 * TREE_ENTRIES_MAX;
const MISSING_PATHS_SHOWN_MAX = 10;
/** Looked at between two turns of others. */
const TOUCHES_A_STEP = 256;
const NAMES_A_STEP = 256;
const CHUNKS_A_STEP = 16_384;

/** @throws NaiadError BOOTSTRAP_INVALID; LIMIT_EXCEEDED for a trace that names the whole image many times. */
export function matchTrace(trace: Trace, image: TracedImage, stepsMax = STEPS_MAX): TraceMatch {
  return runSteps(matchTraceSteps(trace, image, stepsMax));
}

/** `matchTrace` in steps. */
export function* matchTraceSteps(trace: Trace, image: TracedImage, stepsMax = STEPS_MAX): Steps<TraceMatch> {
  const matcher = new TraceMatcher(trace, image, stepsMax);
  const counts = { content: 0, path: 0, missing: 0 };
  const sizes = { content: 0, path: 0, missing: 0 };
  /** Whether something of it applies. */
  const files = new Map<ByteString, boolean>();
  const chunks: ImageChunk[] = [];
  const seen = image.devices.map(({ chunks: table }) => new Uint8Array(Math.ceil(table.count / 8)));
  let [bytes, storedBytes] = [0, 0];
  for (const [number, touch] of trace.touches.entries()) {
    if (number % TOUCHES_A_STEP === TOUCHES_A_STEP - 1) yield;
    const found = yield* matcher.find(touch);
    counts[found.kind]++;
    sizes[found.kind] += touch.size ?? 0;
    if (touch.path !== '') files.set(touch.path, found.kind !== 'missing' || files.get(touch.path) === true);
    for (const place of found.chunks) {
      const bits = seen[place.device] as Uint8Array;
      const mask = 1 << (place.chunk & 7);
      if ((bits[place.chunk >>> 3] as number) & mask) continue;
      bits[place.chunk >>> 3] = (bits[place.chunk >>> 3] as number) | mask;
      const { chunks: table } = image.devices[place.device] as Device;
      bytes += table.uncompressedSize(place.chunk);
      storedBytes += table.compressedSize(place.chunk);
      chunks.push(place);
    }
  }
  const { content: byContent, path: byPath, missing } = counts;
  const missingFiles = [...files].filter(([, applies]) => !applies);
  return {
    chunks,
    applied: {
      ...{ touches: trace.touches.length, byContent, byPath, missing },
      ...{ tracedFiles: files.size, appliedFiles: files.size - missingFiles.length },
      tracedBytes: sizes.content + sizes.path + sizes.missing,
      appliedBytes: sizes.content + sizes.path,
      ...{ chunks: chunks.length, bytes, storedBytes },
      missingPaths: missingFiles.slice(0, MISSING_PATHS_SHOWN_MAX).map(([path]) => displayBytes(path)),
    },
  };
}

/** Finds touches of one trace in one image. */
class TraceMatcher {
  readonly #image: TracedImage;
  readonly #trace: Trace;
  #byContent: ((touch: Touch) => ImageChunk | undefined) | undefined;
  /** Paths that were looked up, with what they lead to. */
  readonly #nids = new Map<ByteString, number | undefined>();
  /** Paths whose files were given whole. */
  readonly #whole = new Set<ByteString>();
  #stepsLeft: number;

  constructor(trace: Trace, image: TracedImage, stepsMax = STEPS_MAX) {
    this.#trace = trace;
    this.#stepsLeft = stepsMax;
    this.#image = image;
  }

  /** A touch of `trace`. What was found whole for an earlier touch is not given again. */
  *find(touch: Touch): Steps<{ readonly kind: MatchKind; readonly chunks: readonly ImageChunk[] }> {
    const there = yield* this.#atPath(touch);
    if (touch.chunk !== undefined) {
      const same = there?.find((place) => this.#hasContent(place, touch));
      const found = same ?? (yield* this.#findContent(touch));
      if (found) return { kind: 'content', chunks: [found] };
    }
    if (there && (there.length > 0 || touch.size === undefined)) return { kind: 'path', chunks: there };
    return { kind: 'missing', chunks: [] };
  }

  /** The chunks that hold a touch's range of its file; of a directory, those of all files below. */
  *#atPath({ path, offset, size }: Touch): Steps<ImageChunk[] | undefined> {
    const nid = path === '' ? undefined : this.#resolve(path);
    if (nid === undefined) return undefined;
    const { bootstrap } = this.#image;
    const type = bootstrap.inode(nid).mode & S_IFMT;
    if (type === S_IFREG) return this.#inFile(nid, offset, size);
    if (type !== S_IFDIR || size !== undefined) return undefined;
    if (this.#whole.has(path)) return [];
    this.#whole.add(path);
    const chunks: ImageChunk[] = [];
    let names = 0;
    const { path: from } = resolvePath(bootstrap, namesOf(path), { followLast: true });
    for (const { inode } of walk(bootstrap, from)) {
      this.#step(1);
      if (++names % NAMES_A_STEP === 0) yield;
      if ((inode.mode & S_IFMT) === S_IFREG)
        for (const place of this.#inFile(inode.nid, 0, undefined)) chunks.push(place);
    }
    return chunks;
  }

  #resolve(path: ByteString): number | undefined {
    const known = this.#nids.get(path);
    if (known !== undefined || this.#nids.has(path)) return known;
    let nid: number | undefined;
    try {
      nid = resolvePath(this.#image.bootstrap, namesOf(path), { followLast: true }).nid;
    } catch (error) {
      if (!(error instanceof NaiadError) || error.code !== 'PATH_NOT_FOUND') throw error;
    }
    this.#nids.set(path, nid);
    return nid;
  }

  #inFile(nid: number, offset: number, size: number | undefined): ImageChunk[] {
    const { bootstrap, devices } = this.#image;
    const length = Math.max(0, Math.min(size ?? Number.POSITIVE_INFINITY, bootstrap.inode(nid).size - offset));
    this.#step(1 + Math.ceil(length / bootstrap.chunkSize));
    const chunks: ImageChunk[] = [];
    for (const { blobIndex, deviceOffset, size: extentSize } of bootstrap.extents(nid, offset, length)) {
      const table = (devices[blobIndex] as Device).chunks;
      const end = deviceOffset + extentSize;
      for (let chunk = table.indexAt(deviceOffset) ?? table.count; chunk < table.count; chunk++) {
        if (table.uncompressedOffset(chunk) >= end) break;
        if (table.present(chunk)) chunks.push({ device: blobIndex, chunk });
      }
    }
    return chunks;
  }

  #hasContent({ device, chunk }: ImageChunk, touch: Touch): boolean {
    const { digester, chunks } = this.#image.devices[device] as Device;
    const [algorithm, hex] = touch.chunk?.split(':') ?? [];
    return digester === algorithm && Buffer.from(chunks.digest(chunk)).toString('hex') === hex;
  }

  *#findContent(touch: Touch): Steps<ImageChunk | undefined> {
    this.#byContent ??= yield* indexContent(this.#trace, this.#image.devices);
    return this.#byContent(touch);
  }

  #step(count: number): void {
    this.#stepsLeft -= count;
    if (this.#stepsLeft >= 0) return;
    throw new NaiadError('LIMIT_EXCEEDED', 'the trace names the files and chunks of the image many times over');
  }
}

function namesOf(path: ByteString): ByteString[] {
  return path.split('/').filter((name) => name !== '');
}

/** Goes through all chunks of the image once. */
function* indexContent(trace: Trace, devices: readonly Device[]): Steps<(touch: Touch) => ImageChunk | undefined> {
  const wanted = trace.touches.map(({ chunk }) => chunk).filter((chunk) => chunk !== undefined);
  const digests = Buffer.alloc(wanted.length * CHUNK_DIGEST_SIZE);
  const digest = (index: number) => digests.subarray(index * CHUNK_DIGEST_SIZE, (index + 1) * CHUNK_DIGEST_SIZE);
  const places: (ImageChunk | undefined)[] = [];
  const hasContent = (index: number, other: Uint8Array) => digest(index).equals(other);
  const index = new ChunkIndex({ hasContent, digest });
  const algorithms = new Set<string>();
  for (const [number, text] of wanted.entries()) {
    const [algorithm = '', hex = ''] = text.split(':');
    algorithms.add(algorithm);
    const one = digest(number);
    one.write(hex, 'hex');
    if (index.find(one, 0) === undefined) index.add(one, number);
  }
  for (const [device, { chunks, digester }] of devices.entries()) {
    if (!algorithms.has(digester)) continue;
    for (let chunk = 0; chunk < chunks.count; chunk++) {
      if (chunk % CHUNKS_A_STEP === CHUNKS_A_STEP - 1) yield;
      if (!chunks.present(chunk)) continue;
      const number = index.find(chunks.digest(chunk), 0);
      // Digests of two algorithms have nothing in common.
      if (number !== undefined) places[number] ??= { device, chunk };
    }
  }
  return ({ chunk }) => {
    const number = chunk === undefined ? undefined : index.find(Buffer.from(chunk.split(':')[1] ?? '', 'hex'), 0);
    return number === undefined ? undefined : places[number];
  };
}
