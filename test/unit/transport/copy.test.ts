// What a copy holds in memory of an image whose manifests others wrote.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { sha256Digest } from '../../../src/format/oci/digest.ts';
import { MEDIA_TYPES } from '../../../src/format/oci/media-types.ts';
import { copyReference } from '../../../src/transport/copy.ts';
import { startDouble } from '../../support/http-double.ts';
import { temporaryDir } from '../../support/temporary.ts';

const mediaType = MEDIA_TYPES.ociIndex;

/** An index of nothing, of some `size` bytes. */
function largeIndex(size: number, name: string): Buffer {
  return Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType, manifests: [], annotations: { [name]: 'x'.repeat(size) } }),
  );
}

/** Copies an index of all these; how often each was asked for. */
async function copyIndexOf(documents: readonly Buffer[], to: string): Promise<Map<string, number>> {
  const byName = new Map(documents.map((bytes) => [sha256Digest(bytes), bytes]));
  const manifests = documents.map((bytes) => ({ mediaType, digest: sha256Digest(bytes), size: bytes.length }));
  byName.set('1', Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests })));
  const asked = new Map<string, number>();
  await using double = await startDouble(({ path }, response) => {
    const name = path.split('/').at(-1) ?? '';
    asked.set(name, (asked.get(name) ?? 0) + 1);
    response.writeHead(200, { 'content-type': mediaType }).end(byName.get(name));
  });
  await copyReference(`${double.host}/a:1`, `oci:${to}:1`, { allPlatforms: true });
  return asked;
}

test('copy: an index that is named many times is asked for once', async () => {
  using dir = temporaryDir();
  const same = largeIndex(10, 'a');
  const asked = await copyIndexOf([same, same, same], join(dir.path, 'to'));
  assert.deepEqual([...asked.values()], [1, 1]);
});

test('copy: manifests without end are refused', async () => {
  using dir = temporaryDir();
  const many = Array.from({ length: 18 }, (_, at) => largeIndex(3.8 * 2 ** 20, `number ${at}`));
  await assert.rejects(copyIndexOf(many, join(dir.path, 'to')), { code: 'LIMIT_EXCEEDED' });
});
