import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NaiadError } from '../../../src/base/errors.ts';
import { errnoOf } from '../../../src/mount/errno.ts';
import { mountAt, parseMountTable } from '../../../src/mount/mount-table.ts';
import { nameToText, textToNames } from '../../../src/mount/text-names.ts';
import { decodeError, encodeError } from '../../../src/mount/wire-error.ts';

const NAMES: { name: string; text: string; back: string[] }[] = [
  { name: 'plain', text: 'plain', back: ['plain'] },
  { name: 'caf\u00c3\u00a9', text: 'café', back: ['caf\u00c3\u00a9'] },
  { name: 'caf\u00e9', text: 'caf\\xe9', back: ['caf\\xe9', 'caf\u00e9'] },
  { name: 'a\\b\u00ff', text: 'a\\x5cb\\xff', back: ['a\\x5cb\\xff', 'a\\b\u00ff'] },
  // Names that only look escaped are themselves.
  { name: 'caf\\x61', text: 'caf\\x61', back: ['caf\\x61'] },
  { name: '\\xe9\\xE9', text: '\\xe9\\xE9', back: ['\\xe9\\xE9'] },
];
for (const { name, text, back } of NAMES) {
  test(`text names: ${text}`, () => {
    assert.equal(nameToText(name), text);
    assert.deepEqual(textToNames(text), back);
  });
}

test('mount table: fields, escapes, optional fields, the last one on a mountpoint', () => {
  const table = parseMountTable(
    [
      '21 1 8:1 / / rw,relatime shared:1 master:2 - ext4 /dev/sda1 rw',
      '42 21 0:39 / /mnt/a\\040b ro,relatime - fuse.naiad naiad ro,user_id=0',
      '43 21 0:40 / /mnt/a\\040b rw - overlay naiad rw,lowerdir=lower',
      '44 21 0:41 / /mnt/caf\u00c3\u00a9 rw - tmpfs none rw',
      'no mount',
      '',
    ].join('\n'),
  );
  assert.equal(table.length, 4);
  assert.deepEqual(mountAt('/mnt/a b', table), {
    mountpoint: '/mnt/a b',
    device: '0:40',
    type: 'overlay',
    source: 'naiad',
  });
  assert.equal(mountAt('/mnt/café', table)?.type, 'tmpfs');
  assert.equal(mountAt('/mnt', table), undefined);
});

const ERRNOS: [unknown, number][] = [
  [new NaiadError('NO_SPACE', ''), 28],
  [new NaiadError('CHUNK_DIGEST_MISMATCH', ''), 5],
  [new NaiadError('REGISTRY_UNAVAILABLE', ''), 5],
  [new NaiadError('ACCESS_DENIED', ''), 5],
  [new NaiadError('BLOB_NOT_FOUND', ''), 5],
  [new NaiadError('CANCELED', ''), 5],
  [new Error('bug'), 5],
];
for (const [error, errno] of ERRNOS) {
  test(`errno: ${error instanceof NaiadError ? error.code : 'a bug'}`, () => assert.equal(errnoOf(error), errno));
}

test('errors arrive in another process as they were thrown', () => {
  const inner = new Error('inner', { cause: new Error('innermost') });
  const sent = new NaiadError('MOUNT_FAILED', 'message', { hint: 'hint', cause: inner });
  const got = decodeError(JSON.parse(JSON.stringify(encodeError(sent))));
  assert.equal(got.code, 'MOUNT_FAILED');
  assert.equal(got.message, 'message');
  assert.equal(got.hint, 'hint');
  assert.equal((got.cause as Error).message, 'inner');
  assert.equal(((got.cause as Error).cause as Error).message, 'innermost');
  assert.equal(decodeError(encodeError(new TypeError('oops'))).code, 'BUG');
  assert.equal(decodeError({ code: 'NEVER_HEARD_OF', message: '', causes: [] }).code, 'BUG');
});
