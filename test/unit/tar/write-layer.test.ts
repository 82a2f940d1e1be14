import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatPaxRecords, formatPaxTime, parsePaxRecords, parsePaxTime } from '../../../src/format/tar/pax.ts';
import type { LayerEntry } from '../../../src/image/layer-entry.ts';
import { makeDevice, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG } from '../../../src/image/tree.ts';
import { readLayerTar } from '../../../src/tar/read-layer.ts';
import { type WrittenEntry, writeLayerTar } from '../../../src/tar/write-layer.ts';
import { bodyOf } from '../../support/layer-entries.ts';

const body = async function* (bytes: Uint8Array) {
  yield bytes;
};
const plain = { uid: 0, gid: 0, mtimeSec: 1_600_000_000, mtimeNsec: 0, xattrs: [] };
const far = { uid: 0xffff_ffff, gid: 2 ** 21, mtimeSec: -3, mtimeNsec: 1, xattrs: [] };
const xattrs = ['user.\xff', 'user.a=b%'].map((name) => ({ name, value: Uint8Array.of(10, 0, 255) }));
const deep = [...Array(6).fill('d'.repeat(60)), 'e'];

const ENTRIES: readonly WrittenEntry[] = [
  { kind: 'directory', path: [], attributes: { ...plain, mode: S_IFDIR | 0o755 } },
  { kind: 'directory', path: ['\xe4 \n'], attributes: { ...far, mode: S_IFDIR | 0o1777 } },
  {
    kind: 'file',
    path: deep,
    attributes: { ...plain, mode: S_IFREG | 0o4755, xattrs },
    size: 700,
    body: body(Buffer.alloc(700, 'x')),
  },
  { kind: 'file', path: ['empty'], attributes: { ...far, mode: S_IFREG }, size: 0, body: body(Buffer.alloc(0)) },
  { kind: 'link', path: ['link'], target: deep, attributes: { ...plain, mode: S_IFREG | 0o4755, xattrs } },
  { kind: 'symlink', path: ['s'], attributes: { ...plain, mode: S_IFLNK | 0o777 }, target: '\xff'.repeat(300) },
  { kind: 'special', path: ['c'], attributes: { ...plain, mode: S_IFCHR | 0o600 }, rdev: makeDevice(4095, 1048575) },
  { kind: 'special', path: ['b'], attributes: { ...plain, mode: S_IFBLK | 0o600 }, rdev: makeDevice(8, 1) },
  { kind: 'special', path: ['p'], attributes: { ...plain, mode: S_IFIFO | 0o600 }, rdev: 0 },
];

async function comparable(entry: LayerEntry): Promise<object> {
  if (entry.kind === 'link') return { kind: entry.kind, path: entry.path, target: entry.target };
  return entry.kind === 'file' ? { ...entry, body: await bodyOf(entry.body) } : entry;
}

test('writeLayerTar: what is read again is what was written', async () => {
  const found: object[] = [];
  for await (const entry of readLayerTar(writeLayerTar(ENTRIES))) found.push(await comparable(entry));
  const again = ENTRIES.map((entry) =>
    entry.kind === 'file' ? { ...entry, body: body(Buffer.alloc(entry.size, 'x')) } : entry,
  );
  assert.deepEqual(found, await Promise.all(again.map(comparable)));
});

test('pax: any bytes as a value, and any time, are read as they were written', () => {
  const bytes = fc.uint8Array({ maxLength: 200 }).map((value) => Buffer.from(value).toString('latin1'));
  fc.assert(
    fc.property(fc.array(bytes), (values) => {
      const records = values.map((value) => ({ key: 'SCHILY.xattr.user.x', value }));
      assert.deepEqual(parsePaxRecords(formatPaxRecords(records)), records);
    }),
  );
  const seconds = fc.integer({ min: -(2 ** 40), max: 2 ** 40 });
  fc.assert(
    fc.property(seconds, fc.integer({ min: 0, max: 999_999_999 }), (sec, nsec) => {
      assert.deepEqual(parsePaxTime(formatPaxTime(sec, nsec)), { sec, nsec });
    }),
  );
});
