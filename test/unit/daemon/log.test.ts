// The daemon's log: levels, both formats, a bounded file, and no secrets.
import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openLog, textOf } from '../../../src/daemon/log.ts';
import { temporaryDir } from '../../support/temporary.ts';

test('log: a line of text has time, level, message and fields', () => {
  const line = JSON.stringify({
    level: 'warn',
    time: '2026-01-02T03:04:05.006Z',
    pid: 1,
    msg: 'odd',
    mountpoint: '/m',
    n: 2,
  });
  assert.equal(textOf(line), '2026-01-02T03:04:05.006Z warn  odd mountpoint=/m n=2\n');
});

test('log: less than its level is left out, and so are secrets', () => {
  using scratch = temporaryDir('log');
  const file = join(scratch.path, 'log');
  const log = openLog({ level: 'info', format: 'json', file });
  log.debug('not this');
  log.info({ token: 'secret', registry: { password: 'secret', host: 'h' } }, 'this');
  const text = readFileSync(file, 'utf8');
  assert.doesNotMatch(text, /secret|not this/);
  const { msg, level, registry } = JSON.parse(text) as Record<string, unknown>;
  assert.deepEqual({ msg, level, registry }, { msg: 'this', level: 'info', registry: { host: 'h' } });
});

test('log: the file and the one before it stay below their limit', () => {
  using scratch = temporaryDir('log');
  const file = join(scratch.path, 'log');
  const log = openLog({ level: 'info', format: 'json', file });
  const long = 'x'.repeat(100_000);
  for (let i = 0; i < 100; i++) log.info({ i }, long);
  for (const path of [file, `${file}.1`]) {
    const { size } = statSync(path);
    assert.ok(size > 0 && size < 4.5 * 1024 * 1024, `${path}: ${size}`);
  }
  assert.match(readFileSync(file, 'utf8'), /"i":99/);
});
