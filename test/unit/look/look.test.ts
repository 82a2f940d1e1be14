import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePath, resolvePath } from '../../../src/image/image-path.ts';
import { catFile } from '../../../src/look/cat.ts';
import { checkImage } from '../../../src/look/check.ts';
import { list, modeText, timeText } from '../../../src/look/list.ts';
import { convertedTree } from '../../support/converted-tree.ts';

const LONG = Array.from({ length: 3000 }, (_, i) => `line ${i}`).join('\n');

const image = convertedTree({
  etc: {
    passwd: 'root\n',
    link: '-> ../usr/lib/os-release',
    loop: '-> loop2',
    loop2: '-> loop',
    absolute: '-> /usr/lib',
  },
  usr: { lib: { 'os-release': 'Debian\n' }, long: LONG, again: LONG },
  empty: '',
});
const { bootstrap, readerOf } = image;

const resolved: { path: string; want: string }[] = [
  { path: '/', want: '' },
  { path: 'etc/passwd', want: 'etc/passwd' },
  { path: '//etc/./passwd', want: 'etc/passwd' },
  { path: 'etc/link', want: 'usr/lib/os-release' },
  { path: 'etc/absolute/os-release', want: 'usr/lib/os-release' },
  { path: '../../etc/../etc/passwd', want: 'etc/passwd' },
];
for (const { path, want } of resolved) {
  test(`resolvePath: ${path} is /${want}`, () => {
    assert.equal(resolvePath(bootstrap, parsePath(path), { followLast: true }).path.join('/'), want);
  });
}

for (const path of ['absent', 'etc/absent', 'etc/passwd/x', 'etc/loop']) {
  test(`resolvePath: ${path} is not found`, () => {
    assert.throws(() => resolvePath(bootstrap, parsePath(path), { followLast: true }), { code: 'PATH_NOT_FOUND' });
  });
}

test('list: a directory, everything below it, and one name', () => {
  const paths = (path: string, recursive = false) =>
    [...list(bootstrap, parsePath(path), { recursive })].map((e) => e.path);
  assert.deepEqual(paths('/'), ['/empty', '/etc', '/usr']);
  assert.deepEqual(paths('usr', true), ['/usr', '/usr/again', '/usr/lib', '/usr/lib/os-release', '/usr/long']);
  assert.deepEqual(paths('empty'), ['/empty']);
});

test('list: says what stat says', () => {
  const [entry] = list(bootstrap, parsePath('empty'), { recursive: false });
  assert.deepEqual(entry, {
    path: '/empty',
    name: 'empty',
    mode: '-rw-r--r--',
    nlink: 1,
    uid: 0,
    gid: 0,
    size: 0,
    mtime: '2020-09-13T12:26:40.000000005Z',
  });
});

const modes: [number, string][] = [
  [0o104755, '-rwsr-xr-x'],
  [0o102644, '-rw-r-Sr--'],
  [0o041777, 'drwxrwxrwt'],
  [0o020600, 'crw-------'],
  [0o120777, 'lrwxrwxrwx'],
];
for (const [mode, want] of modes) test(`modeText: 0${mode.toString(8)}`, () => assert.equal(modeText(mode), want));

test('timeText: beyond what dates hold', () => assert.equal(timeText(2 ** 52, 7), `${2 ** 52}.000000007`));

async function text(path: string): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const piece of catFile(bootstrap, readerOf, parsePath(path))) pieces.push(Uint8Array.from(piece));
  return Buffer.concat(pieces).toString();
}

for (const [path, want] of [
  ['empty', ''],
  ['etc/link', 'Debian\n'],
  ['usr/long', LONG],
  ['usr/again', LONG],
] as const) {
  test(`catFile: ${path}`, async () => assert.equal(await text(path), want));
}

test('catFile: a directory is no file', async () => {
  await assert.rejects(text('etc'), { code: 'USAGE' });
});

test('catFile: a changed byte is an error, never output', async () => {
  const bad = Buffer.from(image.blob);
  bad[2] = (bad[2] as number) ^ 1;
  const reader = { name: 'bad', readAt: async (range: { offset: number; size: number }) => cut(bad, range) };
  const read = async () => {
    for await (const _ of catFile(bootstrap, () => reader, parsePath('etc/passwd')))
      assert.fail('bytes of a bad chunk');
  };
  await assert.rejects(read(), { code: 'CHUNK_DIGEST_MISMATCH' });
});

const cut = (bytes: Buffer, { offset, size }: { offset: number; size: number }) =>
  Uint8Array.from(bytes.subarray(offset, offset + size));

test('checkImage: a good image has no findings, and every chunk is looked at', async () => {
  const blobs = { readerOf, sizeOf: () => image.blob.length };
  const report = await checkImage({ bootstrapBytes: bootstrap.bytes, blobs, data: true });
  assert.deepEqual(report.findings, []);
  assert.equal(report.verifiedChunks, report.chunks);
  assert.equal(report.blobs, 1);
});

test('checkImage: lists every bad chunk and a bad TOC', async () => {
  const bad = Buffer.from(image.blob);
  for (const at of [1, 9000, bad.length - 600]) bad[at] = (bad[at] as number) ^ 1;
  const reader = { name: 'bad', readAt: async (range: { offset: number; size: number }) => cut(bad, range) };
  const blobs = { readerOf: () => reader, sizeOf: () => bad.length };
  const { findings } = await checkImage({ bootstrapBytes: bootstrap.bytes, blobs, data: true });
  assert.deepEqual(findings.map(({ code }) => code).sort(), [
    'BLOB_INVALID',
    'CHUNK_DIGEST_MISMATCH',
    'CHUNK_DIGEST_MISMATCH',
  ]);
});
