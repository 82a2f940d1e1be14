// A line for every request, without anything that is secret.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { NaiadError } from '../../../src/base/errors.ts';
import { TransientFailure } from '../../../src/base/transient.ts';
import type { HttpResponse } from '../../../src/registry/exchange.ts';
import { ReceivedBody } from '../../../src/registry/received-body.ts';
import { traceTo, tracing } from '../../../src/registry/trace.ts';
import { Registry } from '../../../src/registry/transport.ts';
import { startDouble } from '../../support/http-double.ts';
import { temporaryDir } from '../../support/temporary.ts';
import { until } from '../../support/until.ts';

const url = new URL('https://u:s3cret@storage.test/a/b?X-Amz-Signature=s3cret');
const headers = { authorization: 'Bearer s3cret', range: 'bytes=0-9' };

test('trace: method, address, range, status, bytes and time, once the body is over', async () => {
  const said: string[] = [];
  const body = new ReceivedBody({ pause() {}, resume() {}, abort() {} });
  const send = tracing(
    async () => ({ status: 206, headers: () => undefined, url, body }) satisfies HttpResponse,
    (line) => said.push(line),
  );
  await send({ method: 'GET', url, headers });
  body.push(Buffer.alloc(10));
  assert.deepEqual(said, []);
  body.end();
  assert.equal(said.length, 1);
  assert.match(String(said[0]), /^http GET https:\/\/storage\.test\/a\/b\?… bytes=0-9 206 10 B \d+\.\d ms$/);
});

test('trace: what was sent, and why it failed', async () => {
  const said: string[] = [];
  const failure = new TransientFailure(new NaiadError('REGISTRY_UNAVAILABLE', 'connection refused'));
  const send = tracing(
    () => Promise.reject(failure),
    (line) => said.push(line),
  );
  const body = { size: 5, open: () => new Uint8Array(5) };
  await assert.rejects(send({ method: 'PUT', url, headers: {}, body }), (error) => error === failure);
  assert.match(
    String(said[0]),
    /^http PUT https:\/\/storage\.test\/a\/b\?… sent 5 B failed \d+\.\d ms: connection refused$/,
  );
});

test('trace: to a file for its owner alone, or nowhere', () => {
  using dir = temporaryDir('trace');
  const file = join(dir.path, 'http.log');
  for (const off of [undefined, '', '0']) assert.equal(traceTo(off), undefined);
  const say = traceTo(file);
  assert.equal(existsSync(file), false);
  say?.('one');
  say?.('two');
  assert.match(readFileSync(file, 'utf8'), /^\S+Z one\n\S+Z two\n$/);
  assert.equal(statSync(file).mode & 0o777, 0o600);
});

test('trace: a registry traces by NAIAD_TRACE_HTTP, its token service as well, and no secret', async () => {
  using dir = temporaryDir('trace');
  const file = join(dir.path, 'http.log');
  process.env.NAIAD_TRACE_HTTP = file;
  try {
    await using double = await startDouble((asked, response) => {
      const challenge = { 'www-authenticate': `Bearer realm="${double.url}/token",service="s"` };
      if (asked.path.startsWith('/token')) response.end('{"token":"t0k3n-s3cret"}');
      else response.writeHead(asked.headers.authorization ? 200 : 401, challenge).end('{}');
    });
    const known = { user: 'u', password: 'p4ss-s3cret', source: '/auth.json' };
    await using registry = new Registry(double.host, { credentials: async () => ({ credentials: known, looked: [] }) });
    const call = { method: 'GET', path: '/v2/a/tags/list', repository: 'a', actions: 'pull', what: 'x' } as const;
    await registry.ask({ ...call, notFound: 'IMAGE_NOT_FOUND' }, [200], async () => {});
    // The last line is written when the rest of its body has been dropped.
    const linesOf = () => readFileSync(file, 'utf8').trim().split('\n');
    await until('all are written', () => linesOf().length === 3);
    const lines = linesOf();
    const shown = lines.map((line) => line.replace(/^\S+ http |127.0.0.1:\d+| [\d.]+ ms$/g, ''));
    assert.deepEqual(shown, [
      'GET http:///v2/a/tags/list 401 2 B',
      'GET http:///token?… 200 24 B',
      'GET http:///v2/a/tags/list 200 2 B',
    ]);
    assert.doesNotMatch(lines.join('\n'), /s3cret/);
  } finally {
    delete process.env.NAIAD_TRACE_HTTP;
  }
});
