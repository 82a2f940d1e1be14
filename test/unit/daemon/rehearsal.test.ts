// What a daemon runs before it is asked for a mount must work, or it prepares nothing.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { rehearse } from '../../../src/daemon/rehearsal.ts';

test('rehearsal: all of its image comes, chunks verified, and nothing of it is left', async () => {
  const state = mkdtempSync(join(tmpdir(), 'naiad-rehearsal-'));
  try {
    const directory = join(state, 'rehearsal');
    const { bytes, bytesTotal, fetchedBytes } = await rehearse(directory);
    assert.equal(bytes, bytesTotal);
    assert.ok(bytesTotal > 20_000 && fetchedBytes > 0 && fetchedBytes < 1000, 'it was fetched compressed');
    assert.ok(!existsSync(directory));
  } finally {
    rmSync(state, { recursive: true });
  }
});

test('rehearsal: a state directory that is gone is not made again', async () => {
  const gone = join(tmpdir(), 'naiad-rehearsal-gone');
  await assert.rejects(rehearse(join(gone, 'rehearsal')), { code: 'ENOENT' });
  assert.ok(!existsSync(gone));
});
