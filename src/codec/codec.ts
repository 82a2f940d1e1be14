// Chunk compression, decompression and digests, over libraries. All calls are synchronous: a chunk is at most 16 MiB and
// a thread hop would cost more than most chunks do; the addon compresses and decompresses large ones elsewhere.
import { createHash } from 'node:crypto';
import { gunzipSync, gzipSync } from 'node:zlib';
import { NaiadError } from '../base/errors.ts';
import type { CompressorName, DigesterName } from '../format/rafs/algorithms.ts';
import { blakeLibrary, lz4Library, zstdBinding, zstdLibrary } from './libraries.ts';

/** Compresses one chunk; the result may be larger than the input, and then the caller stores the input. */
export type Compress = (chunk: Uint8Array) => Uint8Array;

/** A compressor of one thread; contexts are reused, so results must be used or copied before the next call. */
export function createCompressor(
  name: CompressorName,
  options: { readonly level?: number | undefined } = {},
): Compress {
  switch (name) {
    case 'none':
      return (chunk) => chunk;
    case 'lz4':
      // lz4-napi puts the uncompressed size in front (u32); RAFS stores the bare block.
      return (chunk) => lz4Library().compressSync(asBuffer(chunk)).subarray(4);
    case 'gzip':
      return (chunk) => gzipSync(chunk);
    case 'zstd': {
      const compressor = new (zstdLibrary().Compressor)();
      compressor.setParameters({ compressionLevel: options.level ?? ZSTD_LEVEL_DEFAULT });
      return (chunk) => compressor.compress(chunk);
    }
  }
}

/**
 * Compresses one chunk into memory of its own: a view that lasts until the next call, or undefined when the result would
 * not be smaller than the chunk.
 */
export type CompressInto = (chunk: Uint8Array) => Uint8Array | undefined;

/** As `createCompressor` with the same bytes, but without an allocation a chunk. `sizeMax` bounds the chunks. */
export function createCompressorInto(
  name: CompressorName,
  options: { readonly level?: number | undefined; readonly sizeMax: number },
): CompressInto {
  if (name === 'none') return () => undefined;
  if (name === 'zstd') {
    const binding = zstdBinding();
    const context = new binding.CCtx();
    context.setParameter(binding.CParameter.compressionLevel, options.level ?? ZSTD_LEVEL_DEFAULT);
    const scratch = new Uint8Array(binding.compressBound(options.sizeMax));
    return (chunk) => {
      const size = context.compress2(scratch, chunk);
      return size < chunk.length ? scratch.subarray(0, size) : undefined;
    };
  }
  const compress = createCompressor(name, options);
  return (chunk) => {
    const stored = compress(chunk);
    return stored.length < chunk.length ? stored : undefined;
  };
}

/** Nydus' own default. */
export const ZSTD_LEVEL_DEFAULT = 3;

/**
 * Decompresses `stored` to exactly `size` bytes: those of `room`, where it is given and the codec can, else of memory of their own.
 * @throws NaiadError CHUNK_INVALID when it does not decompress, or to another size.
 */
export function decompress(name: CompressorName, stored: Uint8Array, size: number, room?: Uint8Array): Uint8Array {
  let bytes: Uint8Array;
  try {
    bytes = decompressUnchecked(name, stored, size, room);
  } catch (error) {
    throw new NaiadError(
      'CHUNK_INVALID',
      `${name} data of ${stored.length} bytes does not decompress to ${size} bytes`,
      {
        cause: error,
      },
    );
  }
  if (bytes.length !== size) {
    throw new NaiadError('CHUNK_INVALID', `${name} data decompresses to ${bytes.length} bytes, expected ${size}`);
  }
  return bytes;
}

let zstd: InstanceType<ReturnType<typeof zstdBinding>['DCtx']> | undefined;

function decompressUnchecked(
  name: CompressorName,
  stored: Uint8Array,
  size: number,
  room: Uint8Array | undefined,
): Uint8Array {
  switch (name) {
    case 'none':
      return stored;
    case 'lz4': {
      const sized = Buffer.allocUnsafe(stored.length + 4);
      sized.writeUInt32LE(size, 0);
      sized.set(stored, 4);
      return lz4Library().uncompressSync(sized);
    }
    case 'gzip':
      return gunzipSync(stored, { maxOutputLength: size });
    case 'zstd': {
      // Into memory of the right size: what would be larger is an error, and is never allocated.
      zstd ??= new (zstdBinding().DCtx)();
      const bytes = room?.subarray(0, size) ?? new Uint8Array(size);
      return bytes.subarray(0, zstd.decompress(bytes, stored));
    }
  }
}

/** The 32-byte digest of `bytes`. */
export function digestOf(name: DigesterName, bytes: Uint8Array): Uint8Array {
  return name === 'blake3' ? blakeLibrary().blake3(bytes) : createHash('sha256').update(bytes).digest();
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
