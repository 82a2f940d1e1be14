export const KiB = 1024;
export const MiB = 1024 * KiB;
export const GiB = 1024 * MiB;

/** The smallest multiple of `alignment` that is not below `value`. Exact up to 2^53. */
export function alignUp(value: number, alignment: number): number {
  const rest = value % alignment;
  return rest === 0 ? value : value + alignment - rest;
}

export function isPowerOfTwo(value: number): boolean {
  return Number.isSafeInteger(value) && value > 0 && Number.isInteger(Math.log2(value));
}

/** `1234567` as `1.2 MB`: decimal units, as registries and networks count. */
export function formatSize(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`;
}

const SIZES: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: KiB,
  mib: MiB,
  gib: GiB,
  tib: 1024 * GiB,
};

/** `20GiB`, `1.5 TB`, `4096` in bytes, rounded down; undefined for anything else. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d{1,15}(?:\.\d{1,6})?) ?([kmgt]?i?b|)$/i.exec(text.trim());
  const bytes = Number(match?.[1]) * (SIZES[match?.[2]?.toLowerCase() ?? ''] ?? Number.NaN);
  return Number.isSafeInteger(Math.floor(bytes)) ? Math.floor(bytes) : undefined;
}

const SCALES: Readonly<Record<string, number>> = { '': 1, k: 1e3, m: 1e6, g: 1e9 };

/** `100mbit`, `1.5gbit`, `64kbit`, as tc writes rates: bytes a second; undefined for anything else. */
export function parseBandwidth(text: string): number | undefined {
  const match = /^(\d{1,9}(?:\.\d{1,6})?)([kmg]?)bit$/i.exec(text.trim());
  const bytesPerSecond = (Number(match?.[1]) * (SCALES[match?.[2]?.toLowerCase() ?? ''] ?? 0)) / 8;
  return bytesPerSecond >= 1 ? bytesPerSecond : undefined;
}

/** `20ms`, `1.5s` in milliseconds; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,9}(?:\.\d{1,6})?)(ms|s)$/i.exec(text.trim());
  if (!match) return undefined;
  return Number(match[1]) * (match[2]?.toLowerCase() === 's' ? 1000 : 1);
}
