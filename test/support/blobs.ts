// Blobs made by hand, and readers over them that misbehave as networks and registries do.
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BlobReader, ByteRange } from '../../src/backend/blob-reader.ts';
import { NaiadError } from '../../src/base/errors.ts';
import { alignUp } from '../../src/base/units.ts';
import { createCompressor, digestOf } from '../../src/codec/codec.ts';
import type { CompressorName, DigesterName } from '../../src/format/rafs/algorithms.ts';
import { ChunkTable } from '../../src/image/chunk-table.ts';
import type { Device } from '../../src/image/device.ts';

export interface HandMadeBlob {
  readonly device: Device;
  /** The stored bytes. */
  readonly stored: Buffer;
  /** The device: chunks at their offsets, zeros between. */
  readonly flat: Buffer;
}

/**
 * A blob of `chunks`. Entries that are arrays become one batch each. `gap` bytes of garbage follow each stored unit;
 * chunks of which `absent` is true are in the blob but not in the table.
 */
export function makeBlob(
  chunks: readonly (Uint8Array | readonly Uint8Array[])[],
  options: {
    compressor?: CompressorName;
    digester?: DigesterName;
    gap?: number;
    absent?: (index: number) => boolean;
  } = {},
): HandMadeBlob {
  const { compressor = 'zstd', digester = 'blake3', gap = 0, absent = () => false } = options;
  const compress = createCompressor(compressor);
  const table = new ChunkTable();
  const stored: Uint8Array[] = [];
  const flat: Buffer[] = [];
  let [position, device] = [0, 0];
  for (const entry of chunks) {
    const members = Array.isArray(entry) ? (entry as readonly Uint8Array[]) : [entry as Uint8Array];
    const whole = Buffer.concat(members);
    const packed = Uint8Array.from(compress(whole));
    const compressed = packed.length < whole.length;
    const unit = compressed ? packed : whole;
    let offset = 0;
    for (const member of members) {
      const place = { uncompressedOffset: device, uncompressedSize: member.length };
      const chunk = { ...place, compressedOffset: position, compressedSize: unit.length, compressed, crc32: 0 };
      if (absent(table.count)) table.addAbsent(device);
      else {
        const batch = Array.isArray(entry) ? { uncompressedBatchSize: whole.length, offset } : undefined;
        table.add(chunk, digestOf(digester, member), batch);
      }
      const padded = Buffer.alloc(alignUp(member.length, 4096));
      padded.set(member);
      flat.push(padded);
      device += padded.length;
      offset += member.length;
    }
    stored.push(unit, Buffer.alloc(gap, 0xee));
    position += unit.length + gap;
  }
  const bytes = Buffer.concat(stored);
  const blobId = createHash('sha256').update(bytes).digest('hex');
  return {
    device: { blobId, size: device, compressor, digester, chunks: table },
    stored: bytes,
    flat: Buffer.concat(flat),
  };
}

/** Bytes that compress a little and differ by `seed`. */
export function patterned(size: number, seed: number): Buffer {
  const bytes = Buffer.alloc(size);
  let state = (seed * 2654435761 + 1) >>> 0;
  for (let i = 0; i < size; i++) {
    state = (state * 1664525 + 1013904223) >>> 0;
    bytes[i] = i % 3 === 0 ? seed & 0xff : state >>> 24;
  }
  return bytes;
}

export interface MemoryReader extends BlobReader {
  readonly reads: ByteRange[];
}

export function memoryReader(stored: Uint8Array): MemoryReader {
  const reads: ByteRange[] = [];
  return {
    name: 'memory',
    reads,
    readAt(range) {
      reads.push(range);
      if (range.offset + range.size > stored.length) {
        return Promise.reject(new NaiadError('SIZE_MISMATCH', `memory: ${range.offset}+${range.size} is past the end`));
      }
      return Promise.resolve(Uint8Array.from(stored.subarray(range.offset, range.offset + range.size)));
    },
  };
}

/** Each read takes `ms` longer, or until the reader's signal fires. */
export function slow(reader: BlobReader, ms: number): BlobReader {
  return {
    name: `slow(${reader.name})`,
    async readAt(range, signal) {
      await sleep(ms, undefined, signal ? { signal } : {}).catch((cause) => {
        throw new NaiadError('CANCELED', 'slow read interrupted', { cause });
      });
      return await reader.readAt(range, signal);
    },
  };
}

/** What a wrapper does to the n-th read (from 0): `change` its bytes, or throw. */
export function faulty(reader: BlobReader, change: (bytes: Uint8Array, read: number) => Uint8Array): BlobReader {
  let count = 0;
  return {
    name: `faulty(${reader.name})`,
    async readAt(range, signal) {
      const read = count++;
      return change(await reader.readAt(range, signal), read);
    },
  };
}
