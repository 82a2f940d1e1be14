// Traces in files that are none: the message names the file, of several that may be meant.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { hasCode } from '../../../src/base/errors.ts';
import { readTraces } from '../../../src/trace/read-trace.ts';
import { temporaryDir } from '../../support/temporary.ts';

for (const { name, bytes, code, says } of [
  { name: 'a relative path', bytes: '/etc/passwd\nno/such\n', code: 'TRACE_INVALID', says: 'line 2' },
  {
    name: 'another version',
    bytes: '{"format":"naiad-trace","version":9}\n',
    code: 'TRACE_UNSUPPORTED',
    says: 'version 9',
  },
  { name: 'broken zstd', bytes: Buffer.from('28b52ffd0000', 'hex'), code: 'ARCHIVE_INVALID', says: '' },
] as const) {
  test(`trace file: ${name} is refused by the file's name`, async () => {
    using directory = temporaryDir('trace');
    const [good, bad] = ['good.trace', 'bad.trace'].map((file) => join(directory.path, file)) as [string, string];
    writeFileSync(good, '/etc/passwd\n');
    writeFileSync(bad, bytes);
    await assert.rejects(readTraces([good, bad]), (error: Error) => {
      assert.ok(hasCode(error, code), `${error}`);
      assert.ok(error.message.startsWith(`${bad}: `), error.message);
      assert.ok(error.message.includes(says), error.message);
      return true;
    });
  });
}
