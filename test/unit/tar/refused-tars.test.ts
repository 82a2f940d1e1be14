// Malformed, hostile and unsupported archives: each ends in its code, however the bytes are cut into pieces.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Code } from '../../../src/base/errors.ts';
import { readLayerTar } from '../../../src/tar/read-layer.ts';
import { listing } from '../../support/layer-entries.ts';
import {
  archive,
  at,
  base256,
  extents,
  GNU,
  inPieces,
  latin1,
  member,
  PIECE_SIZES,
  pax,
  size12,
  sparseHeader,
} from '../../support/tar-bytes.ts';

const long = (length: number) => 'x'.repeat(length);

const rejects: { name: string; tar: Buffer; code: Code; message?: RegExp }[] = [
  { name: 'what is no tar', tar: Buffer.alloc(600, 'x'), code: 'ARCHIVE_INVALID', message: /no tar archive/ },
  {
    name: 'less than a header',
    tar: Buffer.alloc(100, 'x'),
    code: 'ARCHIVE_INVALID',
    message: /cut short: it ends at byte 100/,
  },
  {
    name: 'a wrong checksum',
    tar: archive(member({ name: 'a' }), member({ name: 'b', checksum: 'wrong' })),
    code: 'ARCHIVE_INVALID',
    message: /header at byte 512: header with a wrong checksum/,
  },
  {
    name: 'a cut body',
    tar: member({ name: 'a', body: Buffer.alloc(600, 1) }).subarray(0, 1100),
    code: 'ARCHIVE_INVALID',
    message: /ends at byte 1100, in the member at 0/,
  },
  {
    name: 'a body without its last byte',
    tar: member({ body: Buffer.alloc(600, 1) }).subarray(0, 1111),
    code: 'ARCHIVE_INVALID',
  },
  {
    name: 'a long name without its padding',
    tar: member({ type: 'L', magic: GNU, body: 'ab' }).subarray(0, 514),
    code: 'ARCHIVE_INVALID',
  },
  {
    name: 'a cut end',
    tar: Buffer.concat([member({ body: 'x' }), Buffer.alloc(100)]),
    code: 'ARCHIVE_INVALID',
    message: /ends at byte 1124/,
  },
  { name: 'a cut header', tar: archive(member({})).subarray(0, 100), code: 'ARCHIVE_INVALID' },
  { name: 'an end after a pax header', tar: archive(pax([['path', 'a']])), code: 'ARCHIVE_INVALID' },
  { name: 'a pax header without a member', tar: pax([['path', 'a']]), code: 'ARCHIVE_INVALID' },
  {
    name: 'a single zero block, then a member',
    tar: Buffer.concat([member({ name: 'a' }), Buffer.alloc(512), member({ name: 'b' })]),
    code: 'ARCHIVE_INVALID',
    message: /single block of zeros/,
  },
  ...[
    { name: 'letters in the size', patch: at(124, latin1('00000000xyz\0')) },
    { name: 'a negative size', patch: at(124, base256(-1n, 12)) },
    { name: 'a size beyond every limit', patch: at(124, base256(2n ** 60n, 12)) },
    { name: 'a base-256 size with high bits', patch: at(124, Buffer.from('8100000000000000000000ff', 'hex')) },
    { name: 'letters in the mode', patch: at(100, latin1('rw-r--r-')) },
    { name: 'a negative owner', patch: at(108, base256(-5n, 8)) },
    { name: 'an owner beyond 32 bits', patch: at(116, base256(2n ** 32n, 8)) },
  ].map(({ name, patch }) => ({ name, tar: archive(member({ patch })), code: 'ARCHIVE_INVALID' as const })),
  { name: 'an empty name', tar: archive(member({ name: '' })), code: 'ARCHIVE_INVALID', message: /has no name/ },
  { name: 'an empty link target', tar: archive(member({ type: '2' })), code: 'ARCHIVE_INVALID' },
  { name: 'a directory with a body', tar: archive(member({ name: 'd/', body: 'x' })), code: 'ARCHIVE_INVALID' },
  ...['..', 'a/../b', '../a', './..'].map((name) => ({
    name: `the path ${name}`,
    tar: archive(member({ name })),
    code: 'PATH_UNSAFE' as const,
  })),
  { name: 'a hard link out of the tree', tar: archive(member({ type: '1', linkname: '../x' })), code: 'PATH_UNSAFE' },
  { name: 'a NUL in a pax path', tar: archive(pax([['path', 'a\0b']]), member({})), code: 'PATH_UNSAFE' },
  {
    name: 'a NUL in a link target',
    tar: archive(pax([['linkpath', 'a\0b']]), member({ type: '2' })),
    code: 'ARCHIVE_INVALID',
  },
  { name: 'a name of 256 bytes', tar: archive(pax([['path', long(256)]]), member({})), code: 'LIMIT_EXCEEDED' },
  {
    name: 'a path of 2049 names',
    tar: archive(pax([['path', 'a/'.repeat(2049)]]), member({})),
    code: 'LIMIT_EXCEEDED',
  },
  {
    name: 'a link target of 4096 bytes',
    tar: archive(pax([['linkpath', long(4096)]]), member({ type: '2' })),
    code: 'LIMIT_EXCEEDED',
  },
  {
    name: 'a pax header of more than 1 MiB',
    tar: archive(member({ type: 'x', size: 2 ** 20 + 1 })),
    code: 'LIMIT_EXCEEDED',
    message: /1048577 bytes/,
  },
  {
    name: 'an xattr of 64 KiB',
    tar: archive(pax([['SCHILY.xattr.user.a', long(65536)]]), member({})),
    code: 'LIMIT_EXCEEDED',
  },
  ...['5 a=b\n', '6 a=b', '99 a=b\n', '6 =ab\n', '6 abc\n', '06 a=b\n', '-6 a=b\n', ' a=b\n', '5 a=\n\n'].map(
    (body) => ({
      name: `the pax record ${JSON.stringify(body)}`,
      tar: archive(member({ type: 'x', body }), member({})),
      code: 'ARCHIVE_INVALID' as const,
    }),
  ),
  ...[
    ['mtime', '1,5'],
    ['mtime', 'now'],
    ['mtime', '12345678901234567890'],
    ['uid', '-1'],
    ['uid', '4294967296'],
    ['gid', '1.0'],
    ['size', 'x'],
  ].map(([key, value]) => ({
    name: `the pax ${key} ${value}`,
    tar: archive(pax([[key as string, value as string]]), member({})),
    code: 'ARCHIVE_INVALID' as const,
  })),
  ...['path', 'linkpath', 'size', 'GNU.sparse.size'].map((key) => ({
    name: `a global pax ${key}`,
    tar: archive(pax([[key, '1']], 'g'), member({})),
    code: 'ARCHIVE_UNSUPPORTED' as const,
  })),
  {
    name: 'a pax size on a link',
    tar: archive(pax([['size', '5']]), member({ type: '1', linkname: 'a' })),
    code: 'ARCHIVE_UNSUPPORTED',
  },
  {
    name: 'a pax size on a directory',
    tar: archive(pax([['size', '5']]), member({ type: '5' })),
    code: 'ARCHIVE_UNSUPPORTED',
  },
  ...['D', 'M', 'N', 'X', '9', 'Z'].map((type) => ({
    name: `type ${type}`,
    tar: archive(member({ type, magic: GNU })),
    code: 'ARCHIVE_UNSUPPORTED' as const,
  })),
  {
    name: 'a device number beyond Linux',
    tar: archive(member({ type: '3', devmajor: 4096 })),
    code: 'ARCHIVE_UNSUPPORTED',
  },
  ...[
    { name: 'overlap', map: extents(0, 2, 1, 1) },
    { name: 'leave the file', map: extents(0, 2, 9, 2) },
    { name: 'hold more than is stored', map: extents(0, 2, 4, 2) },
    { name: 'are no numbers', map: Buffer.concat([latin1('xxxxxxxxxxx\0'), size12(1)]) },
  ].map(({ name, map }) => ({
    name: `GNU sparse extents that ${name}`,
    tar: archive(member({ type: 'S', magic: GNU, body: 'abc', patch: sparseHeader(10, map, 0) })),
    code: 'ARCHIVE_INVALID' as const,
  })),
  {
    name: 'a sparse header whose extension is missing',
    tar: member({ type: 'S', magic: GNU, patch: sparseHeader(10, extents(0, 0), 1) }),
    code: 'ARCHIVE_INVALID',
  },
  ...['1', '1,2,3', 'a,1', '5,1,0,1'].map((map) => ({
    name: `the pax sparse map ${map}`,
    tar: archive(
      pax([
        ['GNU.sparse.size', '6'],
        ['GNU.sparse.map', map],
      ]),
      member({ body: 'a' }),
    ),
    code: 'ARCHIVE_INVALID' as const,
  })),
  ...['x\n', '1\n0\n', '9999999\n', '1\n0\n1\n'.padEnd(513, '\0'), '12345678901234567\n'].map((body) => ({
    name: `the sparse map ${JSON.stringify(body.slice(0, 20))} in a body`,
    tar: archive(
      pax([
        ['GNU.sparse.major', '1'],
        ['GNU.sparse.minor', '0'],
        ['GNU.sparse.realsize', '0'],
      ]),
      member({ body }),
    ),
    code: 'ARCHIVE_INVALID' as const,
  })),
  {
    name: 'a sparse version of the future',
    tar: archive(
      pax([
        ['GNU.sparse.major', '2'],
        ['GNU.sparse.minor', '0'],
      ]),
      member({}),
    ),
    code: 'ARCHIVE_UNSUPPORTED',
  },
];

for (const { name, tar, code, message } of rejects) {
  test(`refuses ${name}`, async () => {
    for (const size of PIECE_SIZES) {
      const expected = { code, ...(message && { message }) };
      await assert.rejects(listing(readLayerTar(inPieces(tar, size))), expected, `pieces of ${size}`);
    }
  });
}
