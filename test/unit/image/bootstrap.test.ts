// Trees of every shape through the writer, the reader and the checker; and bytes that are not what they claim.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { NaiadError } from '../../../src/base/errors.ts';
import { digestOf } from '../../../src/codec/codec.ts';
import { extendedInode, SUPERBLOCK_OFFSET, superblock } from '../../../src/format/erofs/records.ts';
import { chunkRecord, EXT_SUPERBLOCK_OFFSET, extSuperblock } from '../../../src/format/rafs/records.ts';
import { viewOf } from '../../../src/format/record.ts';
import type { BlobInfo } from '../../../src/image/blob-info.ts';
import { finishBlob } from '../../../src/image/blob-writer.ts';
import { Bootstrap } from '../../../src/image/bootstrap-reader.ts';
import { checkBootstrap } from '../../../src/image/check.ts';
import { BlobRecords, recordsByBlob, tableFromRecords } from '../../../src/image/chunk-records.ts';
import { ChunkTable } from '../../../src/image/chunk-table.ts';
import * as tree from '../../../src/image/tree.ts';
import { walk } from '../../../src/image/walk.ts';
import { type DirectoryLiteral, emptyDirectory, type FileLiteral, writeBootstrap } from '../../support/planted-tree.ts';

const CHUNK_SIZE = 4096;
const plain = { uid: 1000, gid: 100, mtimeSec: -5, mtimeNsec: 999_999_999, xattrs: [] };

/** A blob with one raw chunk per size in `sizes`, whose bytes are all `fill`. */
function blobOf(sizes: readonly number[], fill: number): BlobInfo {
  const chunks = new ChunkTable();
  const hash = createHash('sha256');
  let compressedOffset = 0;
  let uncompressedOffset = 0;
  for (const [index, size] of sizes.entries()) {
    const data = Buffer.alloc(size, fill + index);
    chunks.add(
      {
        compressedOffset,
        compressedSize: size,
        uncompressedOffset,
        uncompressedSize: size,
        compressed: false,
        crc32: 1,
      },
      digestOf('blake3', data),
    );
    hash.update(data);
    compressedOffset += size;
    uncompressedOffset += Math.ceil(size / 4096) * 4096;
  }
  return finishBlob({ chunks, compressor: 'none', digester: 'blake3', dataSize: compressedOffset, hash }).info;
}

function write(root: DirectoryLiteral, blobs: BlobInfo[] = []) {
  return writeBootstrap({ root, blobs, chunkSize: CHUNK_SIZE, compressor: 'none', digester: 'blake3' });
}

function file(size: number, chunks: tree.ChunkRef[]): FileLiteral {
  return { kind: 'file', mode: tree.S_IFREG | 0o4755, size, chunks, ...plain };
}

for (const count of [0, 1, 50, 51, 5000]) {
  test(`bootstrap: a directory of ${count} entries`, () => {
    const root = emptyDirectory();
    const names = Array.from({ length: count }, (_, i) => `${'n'.repeat(1 + ((i * 7) % 200))}${i}`);
    for (const name of names) root.children.set(name, file(0, []));
    const bootstrap = Bootstrap.parse(write(root).bytes);
    const listed = bootstrap.readdir(bootstrap.rootNid).map(({ name }) => name);
    assert.deepEqual(listed, [...names, '.', '..'].sort());
    for (const name of names) assert.ok(bootstrap.lookup(bootstrap.rootNid, name), name);
    assert.equal(bootstrap.lookup(bootstrap.rootNid, 'absent'), undefined);
    assert.equal(bootstrap.lookup(bootstrap.rootNid, '\xff'), undefined);
    assert.deepEqual(checkBootstrap(bootstrap.bytes).findings, []);
  });
}

for (const size of [1, 4031, 4032, 4033, 4095]) {
  test(`bootstrap: a symlink of ${size} bytes`, () => {
    const root = emptyDirectory();
    const target = 't'.repeat(size);
    root.children.set('l', { kind: 'symlink', mode: tree.S_IFLNK | 0o777, target, ...plain });
    const bootstrap = Bootstrap.parse(write(root).bytes);
    assert.equal(bootstrap.readlink(bootstrap.resolve(['l']) as number), target);
  });
}

test('bootstrap: special files, times before 1970, xattrs and hard links', () => {
  const root = emptyDirectory();
  const rdev = tree.makeDevice(300, 70_000);
  const xattrs = [
    { name: 'user.z', value: Buffer.from('1') },
    { name: 'security.capability', value: Buffer.alloc(20, 7) },
    { name: 'system.posix_acl_access', value: Buffer.alloc(28, 2) },
  ];
  const shared = { ...file(0, []), xattrs };
  root.children.set('c', { kind: 'special', mode: tree.S_IFCHR | 0o600, rdev, ...plain });
  root.children.set('p', { kind: 'special', mode: tree.S_IFIFO | 0o600, rdev: 0, ...plain });
  root.children.set('s', { kind: 'special', mode: tree.S_IFSOCK | 0o600, rdev: 0, ...plain });
  root.children.set('one', shared);
  root.children.set('two', shared);
  const bootstrap = Bootstrap.parse(write(root).bytes);
  const view = (name: string) => bootstrap.inode(bootstrap.resolve([name]) as number);
  assert.deepEqual([tree.deviceMajor(view('c').rdev), tree.deviceMinor(view('c').rdev)], [300, 70_000]);
  assert.deepEqual([view('c').mtimeSec, view('c').mtimeNsec], [-5, 999_999_999]);
  assert.equal(view('one').nlink, 2);
  assert.equal(view('one').nid, view('two').nid);
  const read = bootstrap.xattrs(view('one').nid).map(({ name, value }) => [name, Buffer.from(value).toString('hex')]);
  const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
  assert.deepEqual(
    read,
    [...xattrs].sort(byName).map(({ name, value }) => [name, value.toString('hex')]),
  );
  assert.deepEqual(checkBootstrap(bootstrap.bytes).findings, []);
});

test('bootstrap: a chunk that a lower blob holds is referred to there, and a blob nobody uses is dropped', () => {
  const root = emptyDirectory();
  const lower = blobOf([4096, 10], 1);
  const upper = blobOf([4096, 10], 1);
  root.children.set('f', file(4106, [tree.chunkRef(1, 0), tree.chunkRef(1, 1)]));
  const written = write(root, [lower, upper]);
  assert.deepEqual(written.blobs, [lower]);
  const bootstrap = Bootstrap.parse(written.bytes);
  assert.deepEqual(bootstrap.chunkAddresses(bootstrap.resolve(['f']) as number), [
    { blobIndex: 0, chunkIndex: 0, deviceOffset: 0 },
    { blobIndex: 0, chunkIndex: 1, deviceOffset: 4096 },
  ]);
});

test('bootstrap: chunks that are not used are absent from its tables, and the others keep their place', () => {
  const root = emptyDirectory();
  root.children.set('f', file(100, [tree.chunkRef(0, 2)]));
  const blob = blobOf([4096, 5, 100, 7], 40);
  const bootstrap = Bootstrap.parse(write(root, [blob]).bytes);
  const table = tableFromRecords(bootstrap, 0, recordsByBlob(bootstrap)[0] as BlobRecords);
  assert.deepEqual(
    [0, 1, 2, 3].map((index) => table.present(index)),
    [false, false, true, false],
  );
  assert.equal(table.uncompressedOffset(2), 8192);
  assert.equal(table.indexAt(8200), 2);
});

test('bootstrap: extents join what follows on one device, and end with the file', () => {
  const root = emptyDirectory();
  const blob = blobOf([4096, 4096, 100, 4096], 60);
  root.children.set(
    'joined',
    file(
      8292,
      [0, 1, 2].map((index) => tree.chunkRef(0, index)),
    ),
  );
  root.children.set(
    'split',
    file(
      8192,
      [3, 0].map((index) => tree.chunkRef(0, index)),
    ),
  );
  const bootstrap = Bootstrap.parse(write(root, [blob]).bytes);
  const joined = bootstrap.resolve(['joined']) as number;
  const split = bootstrap.resolve(['split']) as number;
  assert.deepEqual(bootstrap.extents(joined, 10, 99_999), [{ blobIndex: 0, deviceOffset: 10, size: 8282 }]);
  assert.deepEqual(bootstrap.extents(joined, 8292, 10), []);
  assert.deepEqual(bootstrap.extents(split, 4000, 200), [
    { blobIndex: 0, deviceOffset: 12288 + 4000, size: 96 },
    { blobIndex: 0, deviceOffset: 0, size: 104 },
  ]);
});

test('bootstrap: any tree survives writing and reading', () => {
  const name = fc.string({
    unit: fc.integer({ min: 1, max: 255 }).map((code) => String.fromCharCode(code)),
    minLength: 1,
    maxLength: 40,
  });
  const names = fc.uniqueArray(
    name.filter((text) => !text.includes('/') && text !== '.' && text !== '..'),
    { maxLength: 40 },
  );
  fc.assert(
    fc.property(fc.array(names, { minLength: 1, maxLength: 6 }), (levels) => {
      const root = emptyDirectory();
      let directory = root;
      const expected: string[] = [''];
      let prefix = '';
      for (const level of levels) {
        for (const child of level) directory.children.set(child, file(0, []));
        for (const child of level) expected.push(`${prefix}/${child}`);
        const next = emptyDirectory();
        directory.children.set('directory', next);
        if (!level.includes('directory')) expected.push(`${prefix}/directory`);
        directory = next;
        prefix += '/directory';
      }
      const { bytes } = write(root);
      const seen = [...walk(Bootstrap.parse(bytes))].map(({ path }) => path.map((part) => `/${part}`).join(''));
      assert.deepEqual(seen.sort(), expected.sort());
      assert.deepEqual(checkBootstrap(bytes).findings, []);
    }),
    { numRuns: 60 },
  );
});

function sampleBytes(): Uint8Array {
  const root = emptyDirectory();
  const sub = emptyDirectory();
  root.children.set('sub', sub);
  sub.children.set('f', file(4106, [tree.chunkRef(0, 0), tree.chunkRef(0, 1)]));
  return write(root, [blobOf([4096, 10], 1)]).bytes;
}

const patch = (edit: (view: DataView, bytes: Uint8Array) => void) => () => {
  const bytes = sampleBytes();
  edit(viewOf(bytes), bytes);
  return bytes;
};
const metaOf = (view: DataView) => superblock.fields.metaBlkaddr.read(view, SUPERBLOCK_OFFSET) * 4096;

const refused: { name: string; bytes: () => Uint8Array; code: string }[] = [
  { name: 'an empty file', bytes: () => new Uint8Array(), code: 'BOOTSTRAP_INVALID' },
  { name: 'zeros', bytes: () => new Uint8Array(8192), code: 'BOOTSTRAP_INVALID' },
  {
    name: 'RAFS v5',
    bytes: () => Uint8Array.from([0x53, 0x46, 0x41, 0x52, 0, 5, 0, 0, ...new Uint8Array(8184)]),
    code: 'BOOTSTRAP_UNSUPPORTED',
  },
  {
    name: 'plain EROFS',
    bytes: patch((view) => superblock.fields.featureCompat.write(view, SUPERBLOCK_OFFSET, 0)),
    code: 'BOOTSTRAP_UNSUPPORTED',
  },
  {
    name: 'tarfs',
    bytes: patch((view) => superblock.fields.blockBits.write(view, SUPERBLOCK_OFFSET, 9)),
    code: 'BOOTSTRAP_UNSUPPORTED',
  },
  {
    name: 'an unknown feature',
    bytes: patch((view) => superblock.fields.featureIncompat.write(view, SUPERBLOCK_OFFSET, 0x1c)),
    code: 'BOOTSTRAP_UNSUPPORTED',
  },
  {
    name: 'encryption',
    bytes: patch((view) => extSuperblock.fields.flags.write(view, EXT_SUPERBLOCK_OFFSET, 0x0200_0015n)),
    code: 'BOOTSTRAP_UNSUPPORTED',
  },
  {
    name: 'a blob table outside the file',
    bytes: patch((view) => extSuperblock.fields.blobTableOffset.write(view, EXT_SUPERBLOCK_OFFSET, 2 ** 40)),
    code: 'BOOTSTRAP_INVALID',
  },
  {
    name: 'more slots than blobs',
    bytes: patch((view) => superblock.fields.extraDevices.write(view, SUPERBLOCK_OFFSET, 254)),
    code: 'BOOTSTRAP_INVALID',
  },
  {
    name: 'a chunk size that is no power of two',
    bytes: patch((view) => extSuperblock.fields.chunkSize.write(view, EXT_SUPERBLOCK_OFFSET, 5000)),
    code: 'BOOTSTRAP_INVALID',
  },
  {
    name: 'a root beyond the end',
    bytes: patch((view) => superblock.fields.rootNid.write(view, SUPERBLOCK_OFFSET, 65535)),
    code: 'BOOTSTRAP_INVALID',
  },
  {
    name: 'a root that is a file',
    bytes: patch((view) => extendedInode.fields.mode.write(view, metaOf(view) + 4096, 0o100644)),
    code: 'BOOTSTRAP_INVALID',
  },
];
for (const { name, bytes, code } of refused) {
  test(`bootstrap: refuses ${name}`, () => assert.throws(() => Bootstrap.parse(bytes()), { code }));
}

test('bootstrap: a directory inside itself ends a walk with an error, and check names it', () => {
  const bytes = sampleBytes();
  const bootstrap = Bootstrap.parse(bytes);
  const sub = bootstrap.resolve(['sub']) as number;
  const at = bootstrap.tables.metaOffset + sub * 32 + 64;
  // The entry of `f` (third in order) now names the directory itself.
  viewOf(bytes).setUint32(at + 24, sub, true);
  assert.throws(() => [...walk(Bootstrap.parse(bytes))], { code: 'BOOTSTRAP_INVALID' });
  const messages = checkBootstrap(bytes).findings.map(({ message }) => message);
  assert.ok(
    messages.some((message) => message.includes('more than once')),
    messages.join('\n'),
  );
});

test('bootstrap: whatever bit is flipped or wherever it is cut, reading ends in a typed error or a value', () => {
  const original = sampleBytes();
  const touch = (bytes: Uint8Array) => {
    checkBootstrap(bytes);
    try {
      const bootstrap = Bootstrap.parse(bytes);
      for (const { inode } of walk(bootstrap)) bootstrap.xattrs(inode.nid);
      const f = bootstrap.resolve(['sub', 'f']);
      if (f !== undefined) bootstrap.extents(f, 0, 8192);
    } catch (error) {
      if (!(error instanceof NaiadError) || error.code === 'BUG') throw error;
    }
  };
  for (let at = 1024; at < original.length; at++) {
    if (original[at] === 0 && at % 61 !== 0) continue;
    for (const bit of [1, 0x80]) {
      const flipped = Uint8Array.from(original);
      flipped[at] = (flipped[at] as number) ^ bit;
      touch(flipped);
    }
  }
  for (let size = 0; size < original.length; size += 509) touch(original.slice(0, size));
});

test('check: lists several violations at once', () => {
  const bytes = patch((view) => {
    superblock.fields.checksum.write(view, SUPERBLOCK_OFFSET, 7);
    superblock.fields.inos.write(view, SUPERBLOCK_OFFSET, 99);
    extendedInode.fields.mtimeNsec.write(view, metaOf(view) + 4096 + 128, 0xffff_ffff);
  })();
  const { findings } = checkBootstrap(bytes);
  assert.ok(findings.length >= 3, JSON.stringify(findings));
  assert.ok(findings.some(({ message }) => message.includes('checksum')));
  assert.ok(findings.some(({ message, severity }) => message.includes('inos is 99') && severity === 'warning'));
});

test('chunk records: in the order of the chunks, and of several of one chunk the last', () => {
  const keys = [
    BlobRecords.keyOf(2, 0),
    BlobRecords.keyOf(2 ** 24 - 1, 3),
    BlobRecords.keyOf(0, 1),
    BlobRecords.keyOf(2, 2),
  ];
  const records = new BlobRecords(new Uint8Array(4 * chunkRecord.size), keys);
  assert.deepEqual([...records.indexes()], [0, 2, 2 ** 24 - 1]);
  assert.deepEqual(
    [0, 1, 2].map((nth) => records.record(nth)),
    [1, 2, 3],
  );
  assert.equal(records.get(1), undefined);
  assert.equal(records.get(2 ** 24 - 2), undefined);
  assert.ok(records.get(2));
});
