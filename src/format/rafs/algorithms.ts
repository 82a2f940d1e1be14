// The algorithms of RAFS by the numbers that name them on disk: `id` in a blob-table entry and a blob header, `flag` in
// the super block (nydus utils/src/compress/mod.rs, utils/src/digest.rs, rafs/src/metadata/mod.rs).

export const COMPRESSORS = {
  none: { id: 0, flag: 0x1 },
  lz4: { id: 1, flag: 0x2 },
  gzip: { id: 2, flag: 0x40 },
  zstd: { id: 3, flag: 0x80 },
} as const;
export type CompressorName = keyof typeof COMPRESSORS;

export const DIGESTERS = {
  blake3: { id: 0, flag: 0x4 },
  sha256: { id: 1, flag: 0x8 },
} as const;
export type DigesterName = keyof typeof DIGESTERS;

export function compressorById(id: number): CompressorName | undefined {
  return (Object.keys(COMPRESSORS) as CompressorName[]).find((name) => COMPRESSORS[name].id === id);
}

export function digesterById(id: number): DigesterName | undefined {
  return (Object.keys(DIGESTERS) as DigesterName[]).find((name) => DIGESTERS[name].id === id);
}
