import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NaiadError } from '../../../src/base/errors.ts';
import { TransientFailure } from '../../../src/base/transient.ts';
import { parseContentRange, rangeHeader } from '../../../src/registry/ranges.ts';
import { Secrets } from '../../../src/registry/redact.ts';
import { retrying } from '../../../src/registry/retry.ts';

const busy = (retryAfterMs?: number) =>
  new TransientFailure(new NaiadError('REGISTRY_UNAVAILABLE', 'busy'), retryAfterMs);

test('retry: until it works', async () => {
  let attempts = 0;
  let retries = 0;
  const got = await retrying({ what: 'x', delayMs: 1, onRetry: () => retries++ }, async (_, number) => {
    attempts++;
    if (number < 3) throw busy();
    return 'done';
  });
  assert.deepEqual([got, attempts, retries], ['done', 3, 2]);
});

test('retry: ends after its attempts, with the last failure', async () => {
  let attempts = 0;
  const asked = retrying({ what: 'x', delayMs: 1, attemptsMax: 3 }, async () => {
    attempts++;
    throw busy();
  });
  await assert.rejects(asked, { code: 'REGISTRY_UNAVAILABLE', message: 'busy, after 3 attempts' });
  assert.equal(attempts, 3);
});

test('retry: what is final is not tried again', async () => {
  let attempts = 0;
  const asked = retrying({ what: 'x', delayMs: 1 }, async () => {
    attempts++;
    throw new NaiadError('BLOB_NOT_FOUND', 'gone');
  });
  await assert.rejects(asked, { code: 'BLOB_NOT_FOUND', message: 'gone' });
  assert.equal(attempts, 1);
});

test('retry: Retry-After is waited for', async () => {
  const started = performance.now();
  await retrying({ what: 'x', delayMs: 1 }, async (_, number) => {
    if (number === 1) throw busy(150);
  });
  assert.ok(performance.now() - started >= 149);
});

test('retry: a wait beyond the deadline is not begun', async () => {
  const started = performance.now();
  const asked = retrying({ what: 'x', deadlineMs: 5000 }, async () => {
    throw busy(30_000);
  });
  await assert.rejects(asked, { code: 'REGISTRY_UNAVAILABLE', message: 'x: no result within 5 s: busy' });
  assert.ok(performance.now() - started < 5000);
});

test('retry: an attempt that hangs ends with the deadline', async () => {
  const asked = retrying({ what: 'x', deadlineMs: 50 }, async (signal) => {
    await new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)));
  });
  await assert.rejects(asked, { code: 'REGISTRY_UNAVAILABLE', message: 'x: no result within 0.05 s' });
});

test("retry: the caller's signal ends attempts and pauses", async () => {
  const caller = new AbortController();
  const asked = retrying({ what: 'x', delayMs: 60_000, deadlineMs: 100_000, signal: caller.signal }, async () => {
    throw busy();
  });
  setTimeout(() => caller.abort(), 20);
  await assert.rejects(asked, { code: 'CANCELED' });
  await assert.rejects(
    retrying({ what: 'x', signal: caller.signal }, async () => 1),
    { code: 'CANCELED' },
  );
});

test('ranges: Content-Range', () => {
  assert.equal(rangeHeader({ offset: 10, size: 5 }), 'bytes=10-14');
  assert.deepEqual(parseContentRange('bytes 10-14/100'), { offset: 10, size: 5, total: 100 });
  assert.deepEqual(parseContentRange('bytes 0-0/*'), { offset: 0, size: 1, total: undefined });
  for (const text of [
    undefined,
    '',
    'bytes */10',
    'bytes 5-4/10',
    'bytes 0-10/10',
    '0-1/2',
    'bytes 0-1',
    `bytes 0-${'9'.repeat(30)}/*`,
  ]) {
    assert.equal(parseContentRange(text), undefined, text);
  }
});

test('redact: passwords and tokens do not come back in texts', () => {
  const secrets = new Secrets();
  secrets.add('pass word/1');
  secrets.add('abc');
  const basic = Buffer.from('pass word/1').toString('base64');
  assert.equal(
    secrets.clean(`a pass word/1 b ${basic} c pass%20word%2F1 \x1b[1m\n abc`),
    'a *** b *** c *** \ufffd[1m abc',
  );
  assert.equal(secrets.clean('x'.repeat(1000)).length, 300);
});
