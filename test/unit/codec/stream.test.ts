import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { compress } from 'zstd-napi';
import { type DecompressOptions, decompressStream } from '../../../src/codec/stream.ts';
import { inPieces } from '../../support/tar-bytes.ts';

async function decompressed(bytes: Uint8Array, pieceSize: number, options?: DecompressOptions): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of decompressStream(inPieces(bytes, pieceSize), options)) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

const text = Buffer.concat([
  Buffer.from('the quick brown fox '.repeat(40_000)),
  randomBytes(300_000),
  Buffer.alloc(3 << 20),
]);
const skippable = Buffer.from('502a4d1803000000abcdef', 'hex');
const PIECE_SIZES = [1 << 20, 65_536, 1000];

const accepts = [
  { name: 'gzip', stored: gzipSync(text), compression: 'gzip', want: text },
  {
    name: 'gzip in two members',
    stored: Buffer.concat([gzipSync(text), gzipSync(text)]),
    compression: 'gzip',
    want: Buffer.concat([text, text]),
  },
  {
    name: 'gzip with zeros behind it',
    stored: Buffer.concat([gzipSync(text), Buffer.alloc(500_000)]),
    compression: 'gzip',
    want: text,
  },
  { name: 'gzip of nothing', stored: gzipSync(''), compression: 'gzip', want: Buffer.alloc(0) },
  { name: 'zstd', stored: compress(text), compression: 'zstd', want: text },
  { name: 'zstd of nothing', stored: compress(Buffer.alloc(0)), compression: 'zstd', want: Buffer.alloc(0) },
  {
    name: 'zstd in two frames and skippable ones',
    stored: Buffer.concat([skippable, compress(text), skippable, compress(text)]),
    compression: 'zstd',
    want: Buffer.concat([text, text]),
  },
  {
    name: 'exactly one piece of zstd',
    stored: compress(Buffer.alloc(1 << 20)),
    compression: 'zstd',
    want: Buffer.alloc(1 << 20),
  },
  { name: 'plain bytes', stored: text, compression: 'none', want: text },
  { name: 'nothing', stored: Buffer.alloc(0), compression: 'none', want: Buffer.alloc(0) },
  { name: 'three bytes', stored: Buffer.from('abc'), compression: 'none', want: Buffer.from('abc') },
];

for (const { name, stored, compression, want } of accepts) {
  test(`decompresses ${name}`, async () => {
    for (const size of stored.length < 10_000 ? [...PIECE_SIZES, 1] : PIECE_SIZES) {
      let detected = '';
      const onDetected = (found: string) => {
        detected = found;
      };
      assert.ok((await decompressed(stored, size, { onDetected })).equals(want), `pieces of ${size}`);
      assert.equal(detected, compression);
    }
  });
}

const flipped = (bytes: Buffer, at: number) => {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] as number) ^ 0xff;
  return copy;
};
/** A frame header that asks for a window of 2^28 bytes. */
const wideWindow = Buffer.from('28b52ffd0090', 'hex');

for (const { name, stored } of [
  { name: 'a cut gzip stream', stored: gzipSync(text).subarray(0, -100) },
  { name: 'a gzip stream without its checksum', stored: gzipSync(text).subarray(0, -8) },
  { name: 'a gzip stream with a wrong checksum', stored: flipped(gzipSync(text), gzipSync(text).length - 6) },
  { name: 'a gzip header alone', stored: gzipSync(text).subarray(0, 10) },
  { name: 'garbage behind gzip', stored: Buffer.concat([gzipSync(text), Buffer.from('garbage')]) },
  { name: 'a cut zstd stream', stored: compress(text).subarray(0, -1) },
  { name: 'a damaged zstd stream', stored: flipped(compress(text, { checksumFlag: true }), 30) },
  { name: 'garbage behind zstd', stored: Buffer.concat([compress(text), Buffer.from('garbage')]) },
  { name: 'zstd with a window beyond the limit', stored: Buffer.concat([wideWindow, Buffer.alloc(100)]) },
]) {
  test(`refuses ${name}`, async () => {
    for (const size of PIECE_SIZES) {
      await assert.rejects(decompressed(stored, size), { code: 'ARCHIVE_INVALID' }, `pieces of ${size}`);
    }
  });
}

test('a failing source fails the stream with its own error, and is closed when the reader stops', async () => {
  const failure = new Error('the network');
  const stored = gzipSync(text);
  let closed = 0;
  async function* source(fails: boolean) {
    try {
      yield stored.subarray(0, 100_000);
      if (fails) throw failure;
      for (let at = 100_000; ; at += 50_000) {
        yield stored.subarray(at, at + 50_000);
        await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      closed++;
    }
  }
  const drain = async (fails: boolean) => {
    for await (const piece of decompressStream(source(fails))) if (!fails && piece.length > 0) break;
  };
  await assert.rejects(drain(true), failure);
  await drain(false);
  assert.equal(closed, 2);
});

test('a bomb is decompressed as it is read, not ahead of the reader', async () => {
  const bomb = gzipSync(Buffer.alloc(256 << 20));
  const before = process.memoryUsage().rss;
  let pieces = 0;
  for await (const piece of decompressStream(inPieces(bomb, 1 << 20))) {
    assert.ok(piece.length <= 1 << 20);
    if (++pieces % 16 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.equal(pieces, 256);
  assert.ok(process.memoryUsage().rss - before < 100 << 20);
});
