import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseReady, ReadyWaiter } from '../../../src/ready/ready.ts';
import { freePort } from '../../support/servers.ts';

const { signal } = new AbortController();

for (const [text, wanted] of [
  ['exit', { kind: 'exit' }],
  ['log:^ready$', { kind: 'log', pattern: /^ready$/ }],
  ['http://127.0.0.1:8080/', { kind: 'http', url: new URL('http://127.0.0.1:8080/') }],
  ['tcp:5432', { kind: 'tcp', host: '127.0.0.1', port: 5432 }],
  ['tcp:localhost:80', { kind: 'tcp', host: 'localhost', port: 80 }],
  ['tcp:[::1]:80', { kind: 'tcp', host: '::1', port: 80 }],
] as const) {
  test(`ready: ${text} is understood`, () => assert.deepEqual(parseReady(text), { text, ...wanted }));
}

for (const text of ['', 'log:', 'log:(', 'http://', 'tcp:', 'tcp:0', 'tcp:65536', 'tcp:a:b', 'ftp://x', 'exit 0']) {
  test(`ready: ${JSON.stringify(text)} is refused`, () => {
    assert.throws(() => parseReady(text), { code: 'USAGE' });
  });
}

test('ready: a line of the log counts once it matches, also over pieces and without its end', async () => {
  const waiter = new ReadyWaiter(parseReady('log:^listening on [0-9]+'));
  const ready = waiter.until(signal);
  waiter.output(Buffer.from('not listening on 1\nliste'));
  assert.equal(await Promise.race([ready, sleep(20, 'not yet')]), 'not yet');
  waiter.output(Buffer.from('ning on 80'));
  assert.equal(typeof (await ready), 'number');
});

test('ready: an application that ends too early is told with what it said last', async () => {
  const waiter = new ReadyWaiter(parseReady('log:never'));
  waiter.output(Buffer.from('out of memory\n'));
  waiter.exited(3);
  await assert.rejects(waiter.until(signal), {
    code: 'COMMAND_FAILED',
    message: /ended with 3 before .* out of memory/,
  });
});

test('ready: the end counts with code 0 alone', async () => {
  const fine = new ReadyWaiter(parseReady('exit'));
  fine.exited(0);
  await fine.until(signal);
  const failed = new ReadyWaiter(parseReady('exit'));
  failed.exited(1);
  await assert.rejects(failed.until(signal), { code: 'COMMAND_FAILED' });
});

test('ready: a port counts once it accepts', async () => {
  const port = await freePort();
  const server = createServer((socket) => socket.destroy()).listen(port, '127.0.0.1');
  await once(server, 'listening');
  await new ReadyWaiter(parseReady(`tcp:${port}`)).until(signal);
  server.close();
  await once(server, 'close');
  const late = new ReadyWaiter(parseReady(`tcp:${port}`)).until(signal);
  assert.equal(await Promise.race([late, sleep(20, 'not yet')]), 'not yet');
  server.listen(port, '127.0.0.1');
  await late;
  server.close();
});

test('ready: an answer over HTTP counts when it is no error', async () => {
  let status = 503;
  let asked = 0;
  const server = createHttpServer((_request, response) => {
    asked++;
    response.writeHead(status).end('x');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const ready = new ReadyWaiter(parseReady(`http://127.0.0.1:${port}/`)).until(signal);
  while (asked < 2) await sleep(1);
  assert.equal(await Promise.race([ready, sleep(5, 'not yet')]), 'not yet');
  status = 204;
  await ready;
  server.close();
});

test('ready: waiting ends with its signal', async () => {
  const stop = new AbortController();
  const waiting = new ReadyWaiter(parseReady('tcp:1')).until(stop.signal);
  stop.abort();
  await assert.rejects(waiting, { code: 'CANCELED' });
});
