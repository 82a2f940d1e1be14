import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { type Link, parseLink } from '../../../src/bench/coldstart/link.ts';
import { checkLink } from '../../../src/bench/coldstart/link-check.ts';
import { startLinkProxy } from '../../../src/bench/coldstart/link-proxy.ts';
import { RequestLines } from '../../../src/bench/coldstart/request-lines.ts';

test('link: bandwidth and round trip are read', () => {
  assert.deepEqual(parseLink('100mbit,20ms'), { text: '100mbit,20ms', bytesPerSecond: 12.5e6, rttMs: 20 });
  assert.deepEqual(parseLink('1gbit,1.5ms'), { text: '1gbit,1.5ms', bytesPerSecond: 125e6, rttMs: 1.5 });
});

for (const text of ['', '100mbit', '20ms,100mbit', '100mbit,20ms,1', '100mbit,20', '100,20ms']) {
  test(`link: ${JSON.stringify(text)} is refused`, () => assert.throws(() => parseLink(text), { code: 'USAGE' }));
}

test('request lines: requests are counted in pieces of any size, bodies passed over', () => {
  const text = [
    'GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n',
    'PUT /a HTTP/1.1\r\nContent-Length: 12\r\n\r\nGET /x\r\n\r\n12',
    'HEAD /b HTTP/1.1\r\nRange: bytes=0-1\r\n\r\n',
  ].join('');
  for (const size of [1, 2, 7, text.length]) {
    const lines = new RequestLines();
    const found: string[] = [];
    for (let at = 0; at < text.length; at += size) found.push(...lines.push(Buffer.from(text.slice(at, at + size))));
    assert.deepEqual(found, ['GET /v2/ HTTP/1.1', 'PUT /a HTTP/1.1', 'HEAD /b HTTP/1.1'], `pieces of ${size}`);
  }
});

/** A server with a small and a large answer, behind `link`. */
async function behind(link: Link, size: number) {
  const body = Buffer.alloc(size, 7);
  const server = createServer((request, response) => {
    response.end(request.url === '/large' ? body : 'x');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const proxy = await startLinkProxy({ host: '127.0.0.1', port: (server.address() as AddressInfo).port }, link);
  return {
    url: `http://127.0.0.1:${proxy.port}`,
    proxy,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

test('link proxy: the bandwidth is one for all connections, and a round trip is what was asked for', async () => {
  // Slow enough that a busy machine can keep up with it.
  const link = parseLink('40mbit,30ms');
  await using setup = await behind(link, 4e6);
  const { bytesPerSecond, bytesPerSecondOfTwo, rttMs } = await checkLink(setup.url, '/large');
  for (const rate of [bytesPerSecond, bytesPerSecondOfTwo]) {
    const share = rate / link.bytesPerSecond;
    // Above the limit is wrong; below it, this machine may have had no time.
    assert.ok(share > 0.05 && share < 1.15, `${share} of the bandwidth`);
  }
  assert.ok(rttMs >= link.rttMs * 0.95, `${rttMs} ms a round trip`);
});

test('link proxy: what passes is counted with its time', async () => {
  await using setup = await behind(parseLink('1gbit,5ms'), 1e6);
  const before = performance.timeOrigin + performance.now();
  const answer = await fetch(`${setup.url}/large`, { headers: { connection: 'close' } });
  assert.equal((await answer.arrayBuffer()).byteLength, 1e6);
  const { received, requests, connections } = setup.proxy.take();
  const bytes = received.reduce((sum, [, size]) => sum + size, 0);
  assert.ok(bytes > 1e6 && bytes < 1e6 + 1000, `${bytes} bytes`);
  assert.equal(connections, 1);
  assert.deepEqual(
    requests.map(([, line]) => line),
    ['GET /large HTTP/1.1'],
  );
  const first = received[0]?.[0] ?? 0;
  assert.ok(first - before >= 2 * 5 - 1.5, `connecting and asking take a round trip each: ${first - before} ms`);
  assert.deepEqual(setup.proxy.take().received, []);
});
