import assert from 'node:assert/strict';
import { test } from 'node:test';
import { zstdWindowSize } from '../../../src/format/zstd/frame.ts';

const KiB = 1024;
const bytes = (hex: string) => Buffer.from(hex.replaceAll(' ', ''), 'hex');

for (const { what, head, want } of [
  { what: 'the smallest window', head: '28b52ffd 00 00', want: KiB },
  { what: 'a window with a mantissa', head: '28b52ffd 04 5b', want: 2 ** 21 + (2 ** 21 / 8) * 3 },
  { what: 'zstd --long', head: '28b52ffd 04 88', want: 128 * KiB * KiB },
  { what: 'one segment, content size in one byte', head: '28b52ffd 20 05', want: 5 },
  { what: 'one segment, in two bytes', head: '28b52ffd 60 0001', want: 512 },
  { what: 'one segment, in four bytes, behind a dictionary id', head: '28b52ffd a3 01020304 00000010', want: 2 ** 28 },
  { what: 'one segment, in eight bytes', head: '28b52ffd e0 0000000001000000', want: 2 ** 32 },
  { what: 'a cut content size', head: '28b52ffd a0 000000', want: undefined },
  { what: 'a cut window', head: '28b52ffd 00', want: undefined },
  { what: 'a cut magic', head: '28b52f', want: undefined },
  { what: 'a skippable frame', head: '502a4d18 04000000 00000000', want: undefined },
  { what: 'gzip', head: '1f8b0800 00000000 0003', want: undefined },
]) {
  test(`zstd frame: ${what}`, () => assert.equal(zstdWindowSize(bytes(head)), want));
}
