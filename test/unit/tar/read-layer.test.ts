import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { readLayerTar } from '../../../src/tar/read-layer.ts';
import { listing } from '../../support/layer-entries.ts';
import {
  archive,
  at,
  base256,
  END,
  extents,
  GNU,
  inPieces,
  latin1,
  member,
  PIECE_SIZES,
  pax,
  sparseHeader,
} from '../../support/tar-bytes.ts';

const long = (length: number) => 'x'.repeat(length);
const accepts: { name: string; tar: Buffer; want: Record<string, string> }[] = [
  { name: 'nothing at all', tar: Buffer.alloc(0), want: {} },
  { name: 'an end without members', tar: END, want: {} },
  { name: 'a missing end', tar: member({ name: 'a' }), want: { a: '100644 0:0 0+0 0 e3b0c44298fc1c14' } },
  ...[513, 600, 1023].map((size) => ({
    name: `a last body without ${1024 - size} bytes of its padding, as umoci writes it`,
    tar: member({ name: 'a', body: 'x' }).subarray(0, size),
    want: { a: '100644 0:0 0+0 1 2d711642b726b044' },
  })),
  {
    name: 'half an end',
    tar: Buffer.concat([member({ name: 'a' }), Buffer.alloc(512)]),
    want: { a: '100644 0:0 0+0 0 e3b0c44298fc1c14' },
  },
  {
    name: 'every plain type',
    tar: archive(
      member({ name: './', type: '5', mode: 0o1777 }),
      member({ name: './d/', type: '5', mode: 0o2755, uid: 7, gid: 8, mtime: 9 }),
      member({ name: '/d//f', mode: 0o4755, body: 'hello' }),
      member({ name: 'd/s', type: '2', linkname: '../t', mode: 0o777 }),
      member({ name: 'd/c', type: '3', devmajor: 4095, devminor: 1048575 }),
      member({ name: 'd/b', type: '4', devmajor: 8, devminor: 300 }),
      member({ name: 'd/p', type: '6' }),
      member({ name: 'd/contiguous', type: '7', body: 'hello' }),
      member({ name: 'd/h', type: '1', linkname: './d/f' }),
    ),
    want: {
      '': '41777 0:0 0+0',
      d: '42755 7:8 9+0',
      'd/b': '60644 0:0 0+0 dev 1050668',
      'd/c': '20644 0:0 0+0 dev 4294967295',
      'd/contiguous': '100644 0:0 0+0 5 2cf24dba5fb0a30e',
      'd/f': '104755 0:0 0+0 5 2cf24dba5fb0a30e linked:d/f',
      'd/h': '104755 0:0 0+0 5 2cf24dba5fb0a30e linked:d/f',
      'd/p': '10644 0:0 0+0 dev 0',
      'd/s': '120777 0:0 0+0 -> ../t',
    },
  },
  {
    name: 'V7: no magic, a directory by its slash, NUL for a regular file, signed checksums',
    tar: archive(
      member({ name: 'd/', type: '\0', magic: '', mode: 0o755 }),
      member({ name: 'd/\xff', type: '\0', magic: '', body: 'hello', checksum: 'signed' }),
    ),
    want: { d: '40755 0:0 0+0', 'd/\xff': '100644 0:0 0+0 5 2cf24dba5fb0a30e' },
  },
  {
    name: 'a ustar prefix, and none in a GNU header',
    tar: archive(member({ name: 'b', prefix: 'a' }), member({ name: 'c', prefix: '\0junk', magic: GNU })),
    want: { 'a/b': '100644 0:0 0+0 0 e3b0c44298fc1c14', c: '100644 0:0 0+0 0 e3b0c44298fc1c14' },
  },
  {
    name: 'GNU long names and links',
    tar: archive(
      member({ name: '././@LongLink', type: 'K', magic: GNU, body: `${long(3000)}\0` }),
      member({ name: '././@LongLink', type: 'L', magic: GNU, body: `${long(200)}/${long(201)}\0` }),
      member({ name: 'cut', type: '2', linkname: 'cut', magic: GNU }),
    ),
    want: { [`${long(200)}/${long(201)}`]: `120777 0:0 0+0 -> ${long(3000)}` },
  },
  {
    name: 'base-256 numbers',
    tar: archive(
      member({
        name: 'a',
        patch: (header) => [at(108, base256(0xffff_ffffn, 8)), at(136, base256(-2n, 12))].map((f) => f(header)),
      }),
    ),
    want: { a: '100644 4294967295:0 -2+0 0 e3b0c44298fc1c14' },
  },
  {
    name: 'pax records: paths and targets that are not UTF-8, owners, times to the nanosecond',
    tar: archive(
      pax([
        ['path', 'd\xff/\xc3\xa9'],
        ['linkpath', '\xfe'],
        ['uid', '4000000000'],
        ['gid', '3000000'],
        ['mtime', '-1.25'],
      ]),
      member({ name: 'short', type: '2', linkname: 'short' }),
    ),
    want: { 'd\xff/\xc3\xa9': '120777 4000000000:3000000 -2+750000000 -> \xfe' },
  },
  {
    name: 'pax records: an empty value gives the header’s back, the last of a key counts',
    tar: archive(
      pax([
        ['path', 'x'],
        ['path', ''],
        ['mtime', '5'],
        ['mtime', '6.000000001999'],
      ]),
      member({ name: 'a' }),
    ),
    want: { a: '100644 0:0 6+1 0 e3b0c44298fc1c14' },
  },
  {
    name: 'global pax records, until a member says otherwise',
    tar: archive(
      pax(
        [
          ['mtime', '10'],
          ['comment', 'from git'],
          ['SCHILY.xattr.user.all', '1'],
        ],
        'g',
      ),
      member({ name: 'a' }),
      pax([['mtime', '11.5']]),
      member({ name: 'b' }),
      pax([['mtime', '12']], 'g'),
      member({ name: 'c' }),
    ),
    want: {
      a: '100644 0:0 10+0 0 e3b0c44298fc1c14 user.all=31',
      b: '100644 0:0 11+500000000 0 e3b0c44298fc1c14 user.all=31',
      c: '100644 0:0 12+0 0 e3b0c44298fc1c14 user.all=31',
    },
  },
  {
    name: 'binary xattrs, empty ones, libarchive’s, names with equals signs left to the first',
    tar: archive(
      pax([
        ['SCHILY.xattr.security.capability', '\x01\0\0\x02\n\xff=\n'],
        ['SCHILY.xattr.user.empty', ''],
        ['LIBARCHIVE.xattr.user.space%20here', 'aGk'],
        ['SCHILY.xattr.system.posix_acl_access', '\x02\0'],
        ['SCHILY.xattr.trusted.overlay.opaque', 'y'],
      ]),
      member({ name: 'a' }),
    ),
    want: {
      a:
        '100644 0:0 0+0 0 e3b0c44298fc1c14 security.capability=010000020aff3d0a system.posix_acl_access=0200 ' +
        'trusted.overlay.opaque=79 user.empty= user.space here=6869',
    },
  },
  {
    name: 'links whose size field says something: without a body as GNU and Go write them, with one as pax does',
    tar: archive(
      member({ name: 'f', body: 'hello' }),
      member({ name: 'a', type: '1', linkname: 'f', size: 5 }),
      member({ name: 'b', type: '1', linkname: 'f', body: 'hello' }),
      member({ name: 'c', type: '1', linkname: 'f', body: Buffer.alloc(1500, 1) }),
      member({ name: 's', type: '2', linkname: 'f', size: 1 }),
      member({ name: 'd', type: '5', size: 4096 }),
      member({ name: 'z', type: '1', linkname: 'f', size: 5 }),
    ),
    want: {
      a: '100644 0:0 0+0 5 2cf24dba5fb0a30e linked:a',
      b: '100644 0:0 0+0 5 2cf24dba5fb0a30e linked:a',
      c: '100644 0:0 0+0 5 2cf24dba5fb0a30e linked:a',
      d: '40644 0:0 0+0',
      f: '100644 0:0 0+0 5 2cf24dba5fb0a30e linked:a',
      s: '120777 0:0 0+0 -> f',
      z: '100644 0:0 0+0 5 2cf24dba5fb0a30e linked:a',
    },
  },
  {
    name: 'a link with a size at the end of an archive without an end',
    tar: Buffer.concat([member({ name: 'f' }), member({ name: 'z', type: '1', linkname: 'f', size: 5 })]),
    want: {
      f: '100644 0:0 0+0 0 e3b0c44298fc1c14 linked:f',
      z: '100644 0:0 0+0 0 e3b0c44298fc1c14 linked:f',
    },
  },
  {
    name: 'old GNU sparse files, with extension blocks',
    tar: archive(
      member({ name: 's', type: 'S', magic: GNU, body: 'ab', patch: sparseHeader(10, extents(2, 1, 7, 1), 0) }),
      Buffer.concat([
        member({
          name: 'e',
          type: 'S',
          magic: GNU,
          size: 6,
          patch: sparseHeader(12, extents(0, 1, 2, 1, 4, 1, 6, 1), 1),
        }),
        Buffer.concat([extents(8, 1), Buffer.alloc(504 - 24), Buffer.from([1]), Buffer.alloc(7)]),
        Buffer.concat([extents(10, 1, 12, 0), Buffer.alloc(512 - 48)]),
        Buffer.concat([latin1('abcdef'), Buffer.alloc(506)]),
      ]),
      member({ name: 'after', body: 'hello' }),
    ),
    want: {
      after: '100644 0:0 0+0 5 2cf24dba5fb0a30e',
      e: `100644 0:0 0+0 12 ${sha('a\0b\0c\0d\0e\0f\0')}`,
      s: `100644 0:0 0+0 10 ${sha('\0\0a\0\0\0\0b\0\0')}`,
    },
  },
  {
    name: 'sparse files in pax records, all three versions',
    tar: archive(
      pax([
        ['GNU.sparse.size', '6'],
        ['GNU.sparse.numblocks', '2'],
        ['GNU.sparse.offset', '1'],
        ['GNU.sparse.numbytes', '1'],
        ['GNU.sparse.offset', '4'],
        ['GNU.sparse.numbytes', '1'],
      ]),
      member({ name: '0.0', body: 'ab' }),
      pax([
        ['GNU.sparse.size', '6'],
        ['GNU.sparse.name', '0.1'],
        ['GNU.sparse.map', '1,1,4,1'],
      ]),
      member({ name: 'GNUSparseFile.1/x', body: 'ab' }),
      pax([
        ['GNU.sparse.major', '1'],
        ['GNU.sparse.minor', '0'],
        ['GNU.sparse.name', '1.0'],
        ['GNU.sparse.realsize', '6'],
      ]),
      member({
        name: 'GNUSparseFile.1/y',
        body: Buffer.concat([latin1('2\n1\n1\n4\n1\n'.padEnd(512, '\0')), latin1('ab')]),
      }),
      pax([
        ['GNU.sparse.major', '1'],
        ['GNU.sparse.minor', '0'],
        ['GNU.sparse.name', 'hole'],
        ['GNU.sparse.realsize', '6'],
      ]),
      member({ name: 'GNUSparseFile.1/z', body: '0\n'.padEnd(512, '\0') }),
    ),
    want: {
      '0.0': `100644 0:0 0+0 6 ${sha('\0a\0\0b\0')}`,
      '0.1': `100644 0:0 0+0 6 ${sha('\0a\0\0b\0')}`,
      '1.0': `100644 0:0 0+0 6 ${sha('\0a\0\0b\0')}`,
      hole: `100644 0:0 0+0 6 ${sha('\0\0\0\0\0\0')}`,
    },
  },
  {
    name: 'volume labels pass by',
    tar: archive(member({ name: 'label', type: 'V', magic: GNU }), member({ name: 'a' })),
    want: { a: '100644 0:0 0+0 0 e3b0c44298fc1c14' },
  },
];

function sha(text: string): string {
  return createHash('sha256').update(latin1(text)).digest('hex').slice(0, 16);
}

for (const { name, tar, want } of accepts) {
  test(`reads ${name}`, async () => {
    for (const size of PIECE_SIZES) {
      assert.deepEqual(Object.fromEntries(await listing(readLayerTar(inPieces(tar, size)))), want, `pieces of ${size}`);
    }
  });
}
