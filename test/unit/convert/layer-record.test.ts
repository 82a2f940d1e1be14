import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createReadStream, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { type RecordOptions, readLayerRecord } from '../../../src/convert/layer-record.ts';
import { LayerRecorder } from '../../../src/convert/layer-recorder.ts';
import { finishBlob } from '../../../src/image/blob-writer.ts';
import { ChunkTable } from '../../../src/image/chunk-table.ts';
import type { LayerEntry } from '../../../src/image/layer-entry.ts';
import { chunkRef, S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG } from '../../../src/image/tree.ts';
import { temporaryDir } from '../../support/temporary.ts';

const scratch = temporaryDir('layer-record');
after(() => scratch[Symbol.dispose]());

const OPTIONS: RecordOptions = { blobIndex: 3, chunkSize: 4096, compressor: 'zstd', digester: 'sha256' };
const NOTHING = { async *[Symbol.asyncIterator]() {} };
const at = (mode: number) => ({ mode, uid: 1, gid: 70000, mtimeSec: -5, mtimeNsec: 999_999_999, xattrs: [] });
const xattrs = [{ name: 'user.\xff', value: Uint8Array.of(0, 255) }];

const ENTRIES: readonly LayerEntry[] = [
  { kind: 'directory', path: [], attributes: at(S_IFDIR | 0o755) },
  { kind: 'file', path: ['a', 'b\xfe'], attributes: { ...at(S_IFREG | 0o4755), xattrs }, size: 5000, body: NOTHING },
  { kind: 'file', path: ['a', 'empty'], attributes: at(S_IFREG), size: 0, body: NOTHING },
  { kind: 'file', path: ['a', '.wh.gone'], attributes: at(S_IFREG), size: 0, body: NOTHING },
  { kind: 'link', path: ['l'], target: ['below', 'x'] },
  { kind: 'symlink', path: ['s'], attributes: at(S_IFLNK | 0o777), target: '../\xe4' },
  { kind: 'special', path: ['c'], attributes: at(S_IFCHR | 0o600), rdev: 259 },
];
const CHUNKS = [chunkRef(3, 0), chunkRef(3, 1)];

function blobOf() {
  const chunks = new ChunkTable();
  const place = { compressedOffset: 0, compressedSize: 100, uncompressedOffset: 0, uncompressedSize: 4096 };
  chunks.add({ ...place, compressed: true, crc32: 7 }, new Uint8Array(32).fill(1));
  const raw = { compressedOffset: 100, compressedSize: 904, uncompressedOffset: 4096, uncompressedSize: 904 };
  chunks.add({ ...raw, compressed: false, crc32: 8 }, new Uint8Array(32).fill(2));
  const data = { chunks, compressor: 'zstd', digester: 'sha256', dataSize: 1004, hash: createHash('sha256') } as const;
  return finishBlob(data).info;
}

async function recorded(name: string): Promise<string> {
  const path = join(scratch.path, name);
  using recorder = new LayerRecorder(path);
  for (const entry of ENTRIES) await recorder.add(entry, entry.kind === 'file' && entry.size > 0 ? CHUNKS : []);
  const summary = { blob: blobOf(), tarSize: 9999, chunks: 2, bytes: 5000 };
  assert.ok(await recorder.finish(summary));
  return path;
}

test('a record says again what it was told', async () => {
  const path = await recorded('whole');
  const { summary, entries } = await readLayerRecord(createReadStream(path), OPTIONS);
  const { chunks, ...blob } = summary.blob ?? assert.fail('no blob');
  const { chunks: want, ...facts } = blobOf();
  assert.deepEqual(
    { ...blob, tocDigest: Buffer.from(blob.tocDigest) },
    { ...facts, tocDigest: Buffer.from(facts.tocDigest) },
  );
  assert.deepEqual([...chunks.content()], [...want.content()]);
  assert.deepEqual([summary.tarSize, summary.chunks, summary.bytes], [9999, 2, 5000]);
  const found = [];
  for await (const { entry, chunks } of entries)
    found.push({ ...entry, ...(entry.kind === 'file' && { body: NOTHING, chunks }) });
  const wanted = ENTRIES.map((entry) => ({
    ...entry,
    ...(entry.kind === 'file' && { chunks: entry.size > 0 ? CHUNKS : [] }),
  }));
  assert.deepEqual(found, wanted);
});

test('a layer that a line cannot hold has no record', async () => {
  using recorder = new LayerRecorder(join(scratch.path, 'long'));
  const size = 2 ** 32;
  const entry: LayerEntry = { kind: 'file', path: ['x'], attributes: at(S_IFREG), size, body: NOTHING };
  await recorder.add(
    entry,
    Array.from({ length: size / 4096 }, (_, index) => chunkRef(3, index)),
  );
  assert.equal(await recorder.finish({ blob: undefined, tarSize: 0, chunks: 0, bytes: 0 }), undefined);
});

const broken: [string, (text: string) => string][] = [
  ['another version', (text) => text.replace('"version":1', '"version":2')],
  ['no header', (text) => text.slice(text.indexOf('\n') + 1)],
  ['other options', (text) => text.replace('"digester":"sha256"', '"digester":"blake3"')],
  ['cut', (text) => text.slice(0, text.lastIndexOf('{'))],
  ['cut inside a line', (text) => text.slice(0, -5)],
  ['an entry more', (text) => `${text}{"kind":"link","path":"y","target":"z"}\n`],
  ['a path that leaves', (text) => text.replace('"path":"s"', '"path":"../s"')],
  ['a chunk that is not there', (text) => text.replace('"chunks":[0,1]', '"chunks":[0,2]')],
  ['a chunk of another size', (text) => text.replace('"chunks":[0,1]', '"chunks":[1,0]')],
  ['a chunk too few', (text) => text.replace('"chunks":[0,1]', '"chunks":[0]')],
  ['a mode of another kind', (text) => text.replace('"kind":"symlink"', '"kind":"special"')],
  ['an unknown kind', (text) => text.replace('"kind":"symlink"', '"kind":"door"')],
  ['a text that is no bytes', (text) => text.replace('"path":"s"', '"path":"\u1234"')],
  ['an xattr of no namespace', (text) => text.replace('"user.', '"other.')],
  ['more chunks than a blob has', (text) => text.replace('"chunkCount":2', '"chunkCount":99999999')],
];
for (const [what, change] of broken) {
  test(`a record with ${what} is refused`, async () => {
    const text = gunzipSync(readFileSync(await recorded(what.replaceAll(' ', '-')))).toString();
    const changed = change(text);
    assert.notEqual(changed, text);
    const reading = async () => {
      const stored = (async function* () {
        yield Buffer.from(changed);
      })();
      const { entries } = await readLayerRecord(stored, OPTIONS);
      for await (const _ of entries);
    };
    await assert.rejects(reading(), (error: { code?: string }) =>
      ['ARCHIVE_INVALID', 'PATH_UNSAFE'].includes(String(error.code)),
    );
  });
}
