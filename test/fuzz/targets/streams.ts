// Compressed layers, and compressed chunks.
import { NaiadError } from '../../../src/base/errors.ts';
import { MiB } from '../../../src/base/units.ts';
import { decompress } from '../../../src/codec/codec.ts';
import { decompressStream } from '../../../src/codec/stream.ts';
import type { CompressorName } from '../../../src/format/rafs/algorithms.ts';
import type { FuzzTarget } from '../target.ts';

async function* inPieces(input: Buffer): AsyncIterable<Buffer> {
  for (let at = 0, size = 100; at < input.length; at += size, size = (size * 5) % 2027)
    yield input.subarray(at, at + size);
}

/** Bombs are legal streams; who reads them stops when it has had enough. */
const OUTPUT_MAX = 64 * MiB;

export const streamTarget: FuzzTarget = {
  name: 'stream',
  async run(input) {
    let size = 0;
    for await (const piece of decompressStream(inPieces(input))) {
      size += piece.length;
      if (size > OUTPUT_MAX) throw new NaiadError('LIMIT_EXCEEDED', 'enough');
    }
  },
  dictionary: ['\x1f\x8b\x08', '\x28\xb5\x2f\xfd', '\x50\x2a\x4d\x18', '\x00\x00\xff\xff'],
  hotspots: (input) => [
    { offset: 0, size: Math.min(18, input.length) },
    { offset: Math.max(0, input.length - 16), size: Math.min(16, input.length) },
  ],
};

const COMPRESSORS: readonly CompressorName[] = ['lz4', 'zstd', 'gzip', 'none'];

/** An input is a compressor (one byte), the size it should come to (u32), and the stored bytes. */
export const chunkTarget: FuzzTarget = {
  name: 'chunk',
  run(input) {
    if (input.length < 5) return;
    const compressor = COMPRESSORS[(input[0] as number) % COMPRESSORS.length] as CompressorName;
    // Readers bound sizes by the chunk size before they decompress.
    const size = input.readUInt32LE(1) % (16 * MiB + 1);
    const bytes = decompress(compressor, input.subarray(5), size);
    if (bytes.length !== size) throw new Error(`${bytes.length} bytes, asked for ${size}`);
  },
  hotspots: (input) => [{ offset: 0, size: Math.min(24, input.length) }],
};
