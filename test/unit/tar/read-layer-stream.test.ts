// How a layer is read, whatever is in it: what is left out is told, bodies may be skipped, sources fail and are closed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readLayerTar } from '../../../src/tar/read-layer.ts';
import type { Skipped } from '../../../src/tar/xattrs.ts';
import { bodyOf, listing } from '../../support/layer-entries.ts';
import { archive, inPieces, latin1, member, pax } from '../../support/tar-bytes.ts';

test('what the format cannot hold is counted, not lost in silence', async () => {
  const skipped: Skipped[] = [];
  const tar = Buffer.concat([
    archive(
      pax([
        ['SCHILY.xattr.system.nfs4_acl', 'x'],
        ['SCHILY.xattr.user.', 'x'],
        ['SCHILY.acl.access', 'user::rw-'],
      ]),
      member({ name: 'a' }),
    ),
    Buffer.alloc(1024),
    latin1('junk'),
  ]);
  const want = { a: '100644 0:0 0+0 0 e3b0c44298fc1c14' };
  const entries = readLayerTar(inPieces(tar, 512), { onSkipped: (what) => skipped.push(what) });
  assert.deepEqual(Object.fromEntries(await listing(entries)), want);
  assert.deepEqual(
    skipped.map((what) => what.slice(0, 30)),
    [
      'an extended attribute outside ',
      'an extended attribute outside ',
      'an ACL in text form (SCHILY.ac',
      'bytes after the end of the arc',
    ],
  );
});

test('a body may be left unread, or half read', async () => {
  const tar = archive(...['a', 'b', 'c', 'd'].map((name) => member({ name, body: Buffer.alloc(200_000, name) })));
  const seen: string[] = [];
  for await (const entry of readLayerTar(inPieces(tar, 4096))) {
    assert.equal(entry.kind, 'file');
    if (entry.kind !== 'file') continue;
    const name = entry.path.join('/');
    if (name === 'b') for await (const piece of entry.body) if (piece.length > 0) break;
    if (name === 'c') assert.equal((await bodyOf(entry.body)).toString(), 'c'.repeat(200_000));
    seen.push(name);
  }
  assert.deepEqual(seen, ['a', 'b', 'c', 'd']);
});

test('giving up closes the source', async () => {
  let closed = false;
  async function* source() {
    try {
      for (;;) yield member({ name: 'a', body: Buffer.alloc(100_000) });
    } finally {
      closed = true;
    }
  }
  for await (const entry of readLayerTar(source())) if (entry.kind === 'file') break;
  assert.equal(closed, true);
});

test('a failing source fails the layer with its own error', async () => {
  const failure = new Error('the network');
  async function* source() {
    yield member({ name: 'a', body: Buffer.alloc(100_000) }).subarray(0, 5000);
    throw failure;
  }
  await assert.rejects(
    listing(readLayerTar(source())),
    (error: Error & { cause?: unknown }) => error === failure || error.cause === failure,
  );
});

test('an aborted read ends as canceled', async () => {
  const stop = new AbortController();
  const entries = readLayerTar(inPieces(archive(member({ body: Buffer.alloc(5000) })), 512), { signal: stop.signal });
  stop.abort();
  await assert.rejects(listing(entries), { code: 'CANCELED' });
});
