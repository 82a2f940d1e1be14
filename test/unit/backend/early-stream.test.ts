// What was asked for before anybody knew what of it is wanted reaches whoever opens it first, once and whole.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BlobReader, BlobStream, ByteRange } from '../../../src/backend/blob-reader.ts';
import { EarlyStream } from '../../../src/backend/early-stream.ts';
import { deferred } from '../../../src/base/concurrency.ts';
import { EARLY_HELD_MAX } from '../../../src/base/limits.ts';
import { MiB } from '../../../src/base/units.ts';
import { until } from '../../support/until.ts';

const SIZE = 1000;
const BLOB = Uint8Array.from({ length: SIZE }, (_, i) => i % 251);
const WHOLE: ByteRange = { offset: 0, size: SIZE };

interface Scripted {
  readonly reader: BlobReader;
  readonly asked: ByteRange[];
  readonly signals: AbortSignal[];
}

function scripted(piecesOf: (range: ByteRange, request: number) => AsyncIterable<Uint8Array>): Scripted {
  const [asked, signals]: [ByteRange[], AbortSignal[]] = [[], []];
  const reader: BlobReader = {
    name: 'scripted',
    readAt: () => Promise.reject(new Error('not asked')),
    open: async (range, signal) => {
      asked.push(range);
      signals.push(signal);
      return { offset: range.offset, pieces: piecesOf(range, asked.length) };
    },
  };
  return { reader, asked, signals };
}

async function* inPieces({ offset, size }: ByteRange): AsyncGenerator<Uint8Array> {
  for (let at = offset; at < offset + size; at += 300) yield BLOB.slice(at, Math.min(at + 300, offset + size));
}

async function open(reader: BlobReader, range: ByteRange, hint = {}): Promise<BlobStream> {
  const stream = await reader.open?.(range, new AbortController().signal, hint);
  assert.ok(stream);
  return stream;
}

async function read(stream: BlobStream): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of stream.pieces) pieces.push(piece);
  return Buffer.concat(pieces);
}

test('early stream: what came before it was opened is there at once, and the blob is asked for once', async () => {
  const { reader, asked } = scripted(inPieces);
  using early = new EarlyStream(reader, SIZE);
  await new Promise((resolve) => setImmediate(resolve));
  const stream = await open(early.of(reader), { offset: 0, size: 400 });
  assert.equal(stream.early?.bytes, SIZE);
  assert.deepEqual(await read(stream), Buffer.from(BLOB));
  assert.deepEqual(asked, [WHOLE]);
  await read(await open(early.of(reader), WHOLE));
  assert.equal(asked.length, 2, 'it is given once');
});

test('early stream: what is held stays as it was though the source uses its memory again', async () => {
  const memory = new Uint8Array(100);
  const { reader } = scripted(async function* () {
    for (let at = 0; at < SIZE; at += 100) {
      memory.set(BLOB.subarray(at, at + 100));
      yield memory;
      memory.fill(255);
    }
  });
  using early = new EarlyStream(reader, SIZE);
  await new Promise((resolve) => setImmediate(resolve));
  const pieces: Uint8Array[] = [];
  for await (const piece of (await open(early.of(reader), WHOLE)).pieces) pieces.push(new Uint8Array(piece));
  assert.deepEqual(Buffer.concat(pieces), Buffer.from(BLOB));
});

test('early stream: a piece is left alone after its reader is told to stop, until that asks for the next or leaves', async () => {
  let isOver = false;
  const { reader } = scripted(async function* () {
    try {
      yield BLOB.subarray(0, 500);
      yield BLOB.subarray(500);
    } finally {
      isOver = true;
    }
  });
  using early = new EarlyStream(reader, SIZE);
  const stop = new AbortController();
  const stream = await early.of(reader).open?.(WHOLE, stop.signal);
  for await (const _ of stream?.pieces ?? []) {
    stop.abort(new Error('enough'));
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(isOver, false);
    break;
  }
  assert.equal(isOver, true);
});

test('early stream: other ranges, and the origin, are asked for anew', async () => {
  const { reader, asked } = scripted(inPieces);
  using early = new EarlyStream(reader, SIZE);
  assert.deepEqual(
    await read(await open(early.of(reader), { offset: 300, size: 5 })),
    Buffer.from(BLOB.slice(300, 305)),
  );
  await read(await open(early.of(reader), WHOLE, { fromOrigin: true }));
  assert.equal(asked.length, 3);
});

test('early stream: one that fails before it is opened is asked for again, one that breaks off tells', async () => {
  const failing: BlobReader = { name: 'failing', readAt: () => Promise.reject(new Error('no')) };
  const { reader } = scripted(inPieces);
  using early = new EarlyStream(failing, SIZE);
  assert.deepEqual(await read(await open(early.of(reader), WHOLE)), Buffer.from(BLOB));
  const breaking = scripted(async function* () {
    yield BLOB.slice(0, 300);
    throw new Error('the line broke');
  });
  using broken = new EarlyStream(breaking.reader, SIZE);
  const stream = await open(broken.of(breaking.reader), WHOLE);
  await assert.rejects(read(stream), /the line broke/);
});

test('early stream: no more is held than the limit, and what nobody opens is given up', async () => {
  let given = 0;
  const pieces = scripted(async function* () {
    for (; given < 4 * EARLY_HELD_MAX; given += MiB) yield new Uint8Array(MiB);
  });
  const early = new EarlyStream(pieces.reader, 4 * EARLY_HELD_MAX);
  await until('the limit is reached', () => given >= EARLY_HELD_MAX);
  await new Promise((resolve) => setImmediate(resolve));
  assert.ok(given <= EARLY_HELD_MAX + 2 * MiB, `${given} bytes were read`);
  early[Symbol.dispose]();
  assert.ok(pieces.signals[0]?.aborted);
  assert.equal((await open(early.of(pieces.reader), { offset: 0, size: 1 })).early, undefined);
});

test('early stream: whoever opened it ends it, by leaving or by a signal', async () => {
  const never = deferred<void>();
  const { reader, signals } = scripted(async function* () {
    yield BLOB.slice(0, 300);
    await never.promise;
  });
  const left = new EarlyStream(reader, SIZE);
  for await (const piece of (await open(left.of(reader), WHOLE)).pieces) {
    assert.equal(piece.length, 300);
    break;
  }
  assert.ok(signals[0]?.aborted);
  const ended = new EarlyStream(reader, SIZE);
  const abort = new AbortController();
  const stream = await ended.of(reader).open?.(WHOLE, abort.signal);
  assert.ok(stream);
  ended[Symbol.dispose]();
  assert.ok(!signals[1]?.aborted, 'it is whose it was opened by');
  const reading = read(stream);
  abort.abort(new Error('enough'));
  await assert.rejects(reading);
});
