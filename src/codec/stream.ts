// Layers as they are stored, decompressed while they stream. What a layer is compressed with is read from its first bytes:
// media types are often wrong, and tools take the bytes' word.
import { createGunzip, type Gunzip } from 'node:zlib';
import type { DCtx } from 'zstd-napi/binding.js';
import { Lanes, throwIfAborted } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { ZSTD_WINDOW_SIZE_MAX, ZSTD_WINDOW_SMALL } from '../base/limits.ts';
import { KiB, MiB } from '../base/units.ts';
import { ZSTD_HEAD_SIZE, zstdWindowSize } from '../format/zstd/frame.ts';
import { createCollector } from './collect.ts';
import { zstdBinding } from './libraries.ts';

export type StreamCompression = 'gzip' | 'zstd' | 'none';

export interface DecompressOptions {
  readonly signal?: AbortSignal | undefined;
  /** Told once what the first bytes say. */
  readonly onDetected?: ((compression: StreamCompression) => void) | undefined;
}

/** Bytes of one decompressed piece. Large ones halve the time gunzip takes (measured: 609 against 388 MB/s at 64 KiB). */
const PIECE_SIZE = 1 * MiB;
/** Decompressed pieces that may wait for the reader, so that gunzip's thread works while the reader does. */
const PIECES_AHEAD_MAX = 3;

/**
 * The uncompressed bytes of a gzip, zstd or plain stream, in pieces that the caller owns. `bytes` is read to its end.
 * @throws NaiadError ARCHIVE_INVALID when the stream is malformed or cut short, and what `bytes` throws
 */
export async function* decompressStream(
  bytes: AsyncIterable<Uint8Array>,
  options: DecompressOptions = {},
): AsyncGenerator<Uint8Array> {
  const iterator = bytes[Symbol.asyncIterator]();
  try {
    const head: Uint8Array[] = [];
    let size = 0;
    while (size < ZSTD_HEAD_SIZE) {
      throwIfAborted(options.signal);
      const next = await iterator.next();
      if (next.done) break;
      head.push(next.value);
      size += next.value.length;
    }
    const all = chain(head, iterator);
    const start = Buffer.concat(head, Math.min(size, ZSTD_HEAD_SIZE));
    const compression = detect(start.subarray(0, MAGIC_SIZE));
    options.onDetected?.(compression);
    if (compression === 'gzip') yield* gunzip(all, options);
    else if (compression === 'zstd') yield* unzstdWithin(zstdWindowSize(start), all, options);
    else yield* all;
  } finally {
    await iterator.return?.();
  }
}

const MAGIC_SIZE = 4;
const GZIP_MAGIC = Buffer.from([0x1f, 0x8b]);
const ZSTD_MAGIC = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
/** Zstd streams may start with skippable frames (zstd:chunked and pzstd write them): 0x184D2A50 to …5F. */
const isSkippable = (head: Buffer) => head.length === 4 && (head.readUInt32LE(0) & 0xffff_fff0) >>> 0 === 0x184d_2a50;

function detect(head: Buffer): StreamCompression {
  if (head.subarray(0, 2).equals(GZIP_MAGIC)) return 'gzip';
  return head.equals(ZSTD_MAGIC) || isSkippable(head) ? 'zstd' : 'none';
}

async function* chain(head: Uint8Array[], rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* head;
  for (;;) {
    const next = await rest.next();
    if (next.done) return;
    yield next.value;
  }
}

async function* gunzip(bytes: AsyncIterable<Uint8Array>, options: DecompressOptions): AsyncGenerator<Uint8Array> {
  const engine = createGunzip({ chunkSize: PIECE_SIZE, ...{ writableHighWaterMark: 3 * FEED_SIZE } });
  const ahead: Uint8Array[] = [];
  let wake: () => void = () => undefined;
  let ended = false;
  let failure: { error: unknown } | undefined;
  engine.on('data', (piece: Uint8Array) => {
    ahead.push(piece);
    if (ahead.length >= PIECES_AHEAD_MAX) engine.pause();
    wake();
  });
  engine.on('end', () => {
    ended = true;
    wake();
  });
  const fail = (error: unknown) => {
    failure ??= { error };
    wake();
  };
  engine.on('error', (error) => {
    fail(
      new NaiadError('ARCHIVE_INVALID', `the gzip stream is malformed or cut short (${error.message})`, {
        cause: error,
      }),
    );
  });
  const fed = feed(engine, bytes, () => ended, options).catch((error: unknown) => {
    fail(error);
    engine.destroy();
  });
  try {
    for (;;) {
      const piece = ahead.shift();
      if (piece) {
        if (ahead.length < PIECES_AHEAD_MAX) engine.resume();
        yield piece;
      } else if (failure) throw failure.error;
      else if (ended) break;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
    await fed;
    if (failure) throw (failure as { error: unknown }).error;
  } finally {
    engine.destroy();
    await fed;
  }
}

/** Writes `bytes` into the engine. After the engine's end (members, then zeros) the rest is read and dropped. */
async function feed(
  engine: Gunzip,
  bytes: AsyncIterable<Uint8Array>,
  isEnded: () => boolean,
  options: DecompressOptions,
): Promise<void> {
  for await (const piece of bytes) {
    throwIfAborted(options.signal);
    if (engine.destroyed) return;
    // Slices, so that the engine never holds more than a few compressed bytes (1 MiB of them may be 1 GiB of zeros).
    for (let at = 0; at < piece.length && !isEnded(); at += FEED_SIZE) {
      if (engine.destroyed) return;
      if (!engine.write(piece.subarray(at, at + FEED_SIZE))) await writable(engine);
    }
  }
  if (!isEnded()) engine.end();
}

const FEED_SIZE = 256 * KiB;

/** Resolves when the engine takes more, has ended or was destroyed. */
function writable(engine: Gunzip): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      for (const event of ['drain', 'end', 'close', 'error']) engine.off(event, settle);
      resolve();
    };
    for (const event of ['drain', 'end', 'close', 'error']) engine.on(event, settle);
  });
}

/** Pieces that may wait to be collected beside such a window; V8 by itself allows 60 MiB of them. */
const DEAD_SIZE_MAX = 4 * MiB;

/** Streams whose window is large, or not known, are decoded one at a time and by one context: each takes its window's size. */
const largeWindow = new Lanes(1);
let largeContext: DCtx | undefined;

async function* unzstdWithin(
  window: number | undefined,
  bytes: AsyncIterable<Uint8Array>,
  options: DecompressOptions,
): AsyncGenerator<Uint8Array> {
  if (window !== undefined && window <= ZSTD_WINDOW_SMALL) {
    yield* unzstd(createContext(), bytes, options);
    return;
  }
  const handedOut = createCollector(DEAD_SIZE_MAX);
  using _lane = await largeWindow.acquire();
  throwIfAborted(options.signal);
  largeContext ??= createContext();
  largeContext.reset(zstdBinding().ResetDirective.sessionOnly);
  for await (const piece of unzstd(largeContext, bytes, options)) {
    yield piece;
    handedOut(piece.length);
  }
}

function createContext(): DCtx {
  const zstd = zstdBinding();
  const context = new zstd.DCtx();
  context.setParameter(zstd.DParameter.windowLogMax, Math.log2(ZSTD_WINDOW_SIZE_MAX));
  return context;
}

/** Synchronous: at over 1 GB/s a hop to a thread and back would gain little. Several frames may follow one another. */
async function* unzstd(
  context: DCtx,
  bytes: AsyncIterable<Uint8Array>,
  options: DecompressOptions,
): AsyncGenerator<Uint8Array> {
  let out = Buffer.allocUnsafeSlow(PIECE_SIZE);
  let filled = 0;
  let frameLeft = 0; // 0 exactly between frames
  const step = (input: Uint8Array): number => {
    try {
      const [left, produced, consumed] = context.decompressStream(out.subarray(filled), input);
      frameLeft = left;
      filled += produced;
      return consumed;
    } catch (error) {
      throw new NaiadError('ARCHIVE_INVALID', `the zstd stream is malformed (${(error as Error).message})`, {
        cause: error,
      });
    }
  };
  for await (const piece of bytes) {
    throwIfAborted(options.signal);
    let input = piece;
    // A full output may hide more that the context holds back; asked between frames, it would call for a next one.
    for (let full = false; input.length > 0 || (full && frameLeft !== 0); ) {
      input = input.subarray(step(input));
      full = filled === out.length;
      if (!full) continue;
      yield out;
      out = Buffer.allocUnsafeSlow(PIECE_SIZE);
      filled = 0;
    }
  }
  if (frameLeft !== 0) throw new NaiadError('ARCHIVE_INVALID', 'the zstd stream is cut short');
  if (filled > 0) yield out.subarray(0, filled);
}
