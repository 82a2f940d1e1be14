// A host that limits requests, and those who ask it.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { deferred, forEachBounded } from '../../../src/base/concurrency.ts';
import { NaiadError } from '../../../src/base/errors.ts';
import { TransientFailure } from '../../../src/base/transient.ts';
import type { HttpRequest, HttpResponse } from '../../../src/registry/exchange.ts';
import { getManifest } from '../../../src/registry/manifests.ts';
import { RateLimit } from '../../../src/registry/rate-limit.ts';
import { registryReader } from '../../../src/registry/reader.ts';
import { Registry } from '../../../src/registry/transport.ts';
import { startDouble } from '../../support/http-double.ts';
import { temporaryDir } from '../../support/temporary.ts';

const url = new URL('http://registry.test/v2/');
const ask = (more: Partial<HttpRequest> = {}): HttpRequest => ({ method: 'GET', url, headers: {}, ...more });
const answer = (status: number, headers: Record<string, string> = {}) =>
  ({ status, headers: (name: string) => headers[name], url }) as HttpResponse;

test('rate limit: everyone waits as long as the host asks', async () => {
  const limit = new RateLimit('registry.test');
  const began = performance.now();
  await limit.send(ask(), async () => answer(429, { 'retry-after': '1' }));
  const times = await Promise.all(
    Array.from({ length: 3 }, () => limit.send(ask(), async () => answer(200)).then(() => performance.now() - began)),
  );
  for (const time of times) assert.ok(time >= 950 && time < 30_000, `${time}`);
});

test('rate limit: who does not wait is told for how long', async () => {
  let nowMs = 0;
  const limit = new RateLimit('registry.test', () => nowMs);
  await limit.send(ask(), async () => answer(503, { 'retry-after': '40' }));
  nowMs = 10_000;
  const refused = limit.send(ask({ whenLimited: 'fail' }), async () => assert.fail('it was asked'));
  await assert.rejects(refused, (error: Error) => {
    assert.ok(error instanceof TransientFailure);
    assert.equal(error.retryAfterMs, 30_000);
    assert.equal(error.failure.message, 'registry.test limits requests: not before 30 s');
    return true;
  });
  nowMs = 40_000;
  assert.equal((await limit.send(ask({ whenLimited: 'fail' }), async () => answer(200))).status, 200);
});

test('rate limit: what a host may ask for has a bound', async () => {
  let nowMs = 0;
  const limit = new RateLimit('registry.test', () => nowMs);
  await limit.send(ask(), async () => answer(429, { 'retry-after': '999999' }));
  nowMs = 60_001;
  assert.equal((await limit.send(ask({ whenLimited: 'fail' }), async () => answer(200))).status, 200);
});

test('rate limit: those who wait end with their signal', async () => {
  const limit = new RateLimit('registry.test');
  await limit.send(ask(), async () => answer(429, { 'retry-after': '50' }));
  const canceled = new AbortController();
  const late = new AbortController();
  const waiting = [
    limit.send(ask({ signal: canceled.signal }), async () => answer(200)),
    limit.send(ask({ signal: late.signal }), async () => answer(200)),
  ];
  canceled.abort();
  late.abort(new NaiadError('REGISTRY_UNAVAILABLE', 'deadline passed'));
  await assert.rejects(waiting[0] as Promise<unknown>, { code: 'CANCELED' });
  await assert.rejects(waiting[1] as Promise<unknown>, /registry.test limits requests/);
});

test('rate limit: after a refusal few ask at once, and more as answers come', async () => {
  const limit = new RateLimit('registry.test');
  let inFlight = 0;
  let most = 0;
  const next = (status: number) => async () => {
    most = Math.max(most, ++inFlight);
    await new Promise((resolve) => setTimeout(resolve, 2));
    inFlight--;
    return answer(status);
  };
  const many = (count: number, status: number) =>
    Promise.all(Array.from({ length: count }, () => limit.send(ask(), next(status))));
  await many(16, 429);
  assert.equal(most, 16);
  most = 0;
  await many(8, 200);
  assert.equal(most, 8);
  most = 0;
  await many(200, 200);
  assert.ok(most > 8 && most <= 192, `${most}`);
  most = 0;
  await many(40, 200);
  assert.equal(most, 40);
});

test('rate limit: a body on its way holds up nobody, and its source may be asked', async () => {
  const limit = new RateLimit('registry.test');
  await limit.send(ask(), async () => answer(429));
  const sent = deferred<HttpResponse>();
  const body = { size: 1, open: () => new Uint8Array(1) };
  const upload = limit.send(ask({ method: 'PUT', body }), () => sent.promise);
  assert.equal((await limit.send(ask(), async () => answer(200))).status, 200);
  sent.resolve(answer(201));
  assert.equal((await upload).status, 201);
});

test('rate limit: what may still be asked', async () => {
  const limit = new RateLimit('registry.test');
  assert.equal(limit.quota, undefined);
  const headers = { 'ratelimit-limit': '100;w=21600', 'ratelimit-remaining': '98;w=21600' };
  await limit.send(ask(), async () => answer(200, headers));
  await limit.send(ask(), async () => answer(200));
  assert.deepEqual(limit.quota, { limit: 100, remaining: 98, windowSec: 21_600 });
  await limit.send(ask(), async () => answer(200, { 'ratelimit-remaining': 'many' }));
  assert.deepEqual(limit.quota, { limit: undefined, remaining: undefined, windowSec: undefined });
});

test('rate limit: a storm of refusals ends in the right bytes, not asked for all the time', async () => {
  const blob = Buffer.alloc(1000, 'x');
  let began: number | undefined;
  await using double = await startDouble((asked, response) => {
    began ??= performance.now();
    if (performance.now() - began < 900) {
      response.writeHead(429, { 'retry-after': '1' }).end('{"errors":[{"code":"TOOMANYREQUESTS"}]}');
      return;
    }
    const [from, to] = String(asked.headers.range).slice(6).split('-').map(Number) as [number, number];
    response.writeHead(206, { 'content-range': `bytes ${from}-${to}/1000` }).end(blob.subarray(from, to + 1));
  });
  await using registry = new Registry(double.host, { retryDelayMs: 1 });
  const reader = registryReader(registry, { repository: 'a', digest: `sha256:${'0'.repeat(64)}`, size: 1000 });
  await forEachBounded(Array(64).keys(), { inFlightMax: 16 }, async (at) => {
    const bytes = await reader.readAt({ offset: at * 10, size: 10 });
    assert.equal(Buffer.from(bytes).toString(), 'x'.repeat(10));
  });
  const refused = double.asked.length - 64;
  assert.ok(refused >= 1 && refused <= 32, `${refused} requests were refused`);
});

test('rate limit: a mirror that wants to be left alone is passed over', async () => {
  using dir = temporaryDir('limit');
  await using mirror = await startDouble((_, response) => {
    response.writeHead(429, { 'retry-after': '50' }).end();
  });
  await using origin = await startDouble((_, response) => void response.writeHead(404).end());
  mkdirSync(join(dir.path, 'registry.test'));
  const hosts = `server = "${origin.url}"\n[host."${mirror.url}"]\ncapabilities = ["pull", "resolve"]\n`;
  writeFileSync(join(dir.path, 'registry.test/hosts.toml'), hosts);
  const began = performance.now();
  // Each client finds the mirror well, and the process knows better.
  for (let count = 0; count < 2; count++) {
    await using registry = new Registry('registry.test', { certsDir: dir.path });
    await assert.rejects(getManifest(registry, { repository: 'a', selector: '1' }), { code: 'IMAGE_NOT_FOUND' });
  }
  assert.deepEqual([mirror.asked.length, origin.asked.length], [1, 2]);
  assert.ok(performance.now() - began < 45_000);
});

test('rate limit: one that never ends is one clear error by the deadline', async () => {
  await using double = await startDouble((_, response) => {
    response.writeHead(429, { 'retry-after': '1' }).end();
  });
  await using registry = new Registry(double.host, { deadlineMs: 1500 });
  const began = performance.now();
  await assert.rejects(getManifest(registry, { repository: 'a', selector: '1' }), {
    code: 'REGISTRY_UNAVAILABLE',
    message: /no result within 1.5 s: manifest of a:1 at 127.0.0.1:\d+: status 429/,
  });
  assert.ok(performance.now() - began < 30_000);
});
