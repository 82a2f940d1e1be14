// What a conversion can be told, and what it does when nobody says. Light, for the command line to load.
import type { ByteString } from '../base/bytes.ts';
import { CHUNK_SIZE_DEFAULT } from '../base/limits.ts';
import type { CompressorName, DigesterName } from '../format/rafs/algorithms.ts';

/** Compressors a conversion writes; others are only read. */
export const COMPRESSORS_WRITTEN = ['zstd', 'lz4', 'none'] as const satisfies readonly CompressorName[];
export const DIGESTERS_WRITTEN = ['blake3', 'sha256'] as const satisfies readonly DigesterName[];

export interface BuildOptions {
  readonly compressor: (typeof COMPRESSORS_WRITTEN)[number];
  /** zstd's; its own default when left out. */
  readonly level?: number | undefined;
  readonly chunkSize: number;
  readonly digester: (typeof DIGESTERS_WRITTEN)[number];
  /** Paths to warm first, see BootstrapOptions. */
  readonly prefetch: readonly (readonly ByteString[])[];
  /** Layers converted at once. Results do not depend on it. */
  readonly jobs: number;
  /** Slots compressed at once; one a core when left out, as far as Node’s pool has threads. Results do not depend on it. */
  readonly workers?: number | undefined;
}

export const BUILD_DEFAULTS: BuildOptions = {
  compressor: 'zstd',
  chunkSize: CHUNK_SIZE_DEFAULT,
  digester: 'blake3',
  prefetch: [],
  jobs: 2,
};
