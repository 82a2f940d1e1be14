// Connections for ranges: what is read of them, when they are used again, and what is left to undici.
import assert from 'node:assert/strict';
import { getEventListeners, once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { REGISTRY_CONNECTIONS_MAX } from '../../../src/base/limits.ts';
import { KiB, MiB } from '../../../src/base/units.ts';
import { type HttpRequest, type HttpResponse, readBody } from '../../../src/registry/exchange.ts';
import { RangeLane } from '../../../src/registry/range-lane.ts';
import { until } from '../../support/until.ts';

/** A server of bytes. `answer` gets each request, the number of its connection and its number on that. */
async function startBytes(
  answer: (socket: Socket, connection: number, number: number) => void,
  idleMs?: number,
): Promise<
  AsyncDisposable & { readonly lane: RangeLane; readonly url: URL; readonly heads: string[]; open(): number }
> {
  const heads: string[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer((socket) => {
    const connection = ++connections;
    let number = 0;
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    socket.on('data', (head) => {
      heads.push(head.toString());
      answer(socket, connection, ++number);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/blob?a=b`);
  const lane = new RangeLane(new URL(url.origin), { timeout: 60_000 }, idleMs);
  return {
    ...{ lane, url, heads, open: () => sockets.size },
    async [Symbol.asyncDispose]() {
      lane.destroy();
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

const get = (url: URL, more: Partial<HttpRequest> = {}): HttpRequest => ({
  ...{ method: 'GET', url, headers: { range: 'bytes=0-9' } },
  ...more,
});

async function textOf(answer: HttpResponse | undefined): Promise<string> {
  assert.ok(answer);
  return Buffer.from(await readBody(answer, 4 * MiB, 'body')).toString('latin1');
}

const OK = 'HTTP/1.1 206 Partial Content\r\nContent-Length: 10\r\n\r\n0123456789';

test('range lane: an answer, however it is cut, and the next one on the same connection', async () => {
  let cut = 1;
  await using bytes = await startBytes((socket) => {
    socket.setNoDelay(true);
    socket.write(OK.slice(0, cut));
    setTimeout(() => socket.write(OK.slice(cut)), 1);
  });
  for (; cut < OK.length; cut++) {
    const answer = await bytes.lane.send(get(bytes.url));
    assert.equal(answer?.status, 206);
    assert.equal(await textOf(answer), '0123456789');
  }
  assert.equal(bytes.open(), 1);
  assert.match(
    bytes.heads[0] ?? '',
    /^GET \/blob\?a=b HTTP\/1\.1\r\nhost: 127\.0\.0\.1:\d+\r\n(.+\r\n)*range: bytes=0-9\r\n(.+\r\n)*\r\n$/,
  );
});

const others: readonly (readonly [name: string, text: string, body: string, connections: number])[] = [
  ['one announced by another', `HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n${OK}`, '0123456789', 1],
  ['one in chunks', 'HTTP/1.1 206 P\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n', 'abcde', 1],
  ['one without a body', 'HTTP/1.1 204 No\r\n\r\n', '', 1],
  ['one that ends the connection', `${OK.replace('\r\n', '\r\nConnection: close\r\n')}`, '0123456789', 2],
];
for (const [name, text, body, connections] of others) {
  test(`range lane: ${name}`, async () => {
    let most = 0;
    await using bytes = await startBytes((socket, connection) => {
      most = Math.max(most, connection);
      socket.write(text);
    });
    for (let turn = 0; turn < 2; turn++) assert.equal(await textOf(await bytes.lane.send(get(bytes.url))), body);
    assert.equal(most, connections);
  });
}

test('range lane: one that ends with its connection', async () => {
  await using bytes = await startBytes((socket) => void socket.end(`HTTP/1.1 206 P\r\n\r\n${'x'.repeat(100 * KiB)}`));
  assert.equal((await textOf(await bytes.lane.send(get(bytes.url)))).length, 100 * KiB);
});

test('range lane: more than a piece of memory, to a slow reader', async () => {
  const size = 3 * MiB + 17;
  const body = Buffer.alloc(size, 'abcdefghijk');
  await using bytes = await startBytes((socket) => {
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
    socket.write(body);
  });
  const answer = await bytes.lane.send(get(bytes.url));
  assert.ok(answer);
  const pieces: Uint8Array[] = [];
  for await (const piece of answer.body) {
    if (pieces.length < 3) await sleep(30);
    pieces.push(piece);
  }
  assert.equal(Buffer.compare(Buffer.concat(pieces), body), 0);
});

test('range lane: what is not understood is left to undici, and an origin that gives little else altogether', async () => {
  const texts = ['HTTP/3 200 OK\r\n\r\n', `HTTP/1.1 200 OK\r\na: ${'x'.repeat(20_000)}`, `${OK}and more`];
  await using bytes = await startBytes((socket) => void socket.write(texts.shift() ?? OK));
  for (const _ of [...texts]) {
    assert.equal(bytes.lane.takes(get(bytes.url)), true);
    assert.equal(await bytes.lane.send(get(bytes.url)), undefined);
  }
  assert.equal(bytes.lane.takes(get(bytes.url)), false);
});

test('range lane: what cannot be sent is left to undici, which says so', async () => {
  await using bytes = await startBytes((socket) => void socket.write(OK));
  assert.equal(await bytes.lane.send(get(bytes.url, { headers: { range: 'bytes=0-9\r\nevil: 1' } })), undefined);
  for (const name of ['host', 'Connection', 'transfer-encoding', 'a b']) {
    assert.equal(await bytes.lane.send(get(bytes.url, { headers: { range: 'bytes=0-9', [name]: 'x' } })), undefined);
  }
  for (const other of [{ method: 'HEAD' }, { headers: {} }, { headersTimeoutMs: 5 }] as const) {
    assert.equal(bytes.lane.takes(get(bytes.url, other)), false);
  }
  assert.deepEqual(bytes.heads, []);
});

test('range lane: a connection that was closed meanwhile is replaced, a new one that breaks is an error', async () => {
  await using bytes = await startBytes((socket, connection, number) => {
    if (connection === 1 && number === 1) socket.write(OK);
    // As one that had ended it just before: nothing is answered.
    else if (connection === 2) socket.write(OK);
    else socket.destroy();
  });
  assert.equal(await textOf(await bytes.lane.send(get(bytes.url))), '0123456789');
  assert.equal(await textOf(await bytes.lane.send(get(bytes.url))), '0123456789');
  assert.equal(bytes.heads.length, 3);
  bytes.lane.destroy();
  await using broken = await startBytes((socket) => void socket.destroy());
  await assert.rejects(broken.lane.send(get(broken.url)), { code: /UND_ERR_SOCKET|ECONNRESET/ });
  assert.equal(broken.heads.length, 1);
});

test('range lane: a body that breaks off says so after what had come; bytes nobody asked for end a connection', async () => {
  let second: Socket | undefined;
  await using bytes = await startBytes((socket, connection) => {
    if (connection === 1) socket.end(OK.slice(0, -5));
    else {
      second = socket;
      socket.write(OK);
    }
  });
  const answer = await bytes.lane.send(get(bytes.url));
  assert.ok(answer);
  let got = '';
  await assert.rejects(async () => {
    for await (const piece of answer.body) got += Buffer.from(piece).toString();
  }, /other side closed/);
  assert.equal(got, '01234');
  assert.equal(answer.body.isBroken, true);
  assert.equal(await textOf(await bytes.lane.send(get(bytes.url))), '0123456789');
  second?.write('HTTP/1.1 200 OK\r\n\r\n');
  await until('the connection is gone', () => bytes.open() === 0);
});

test('range lane: silence ends a request, and an idle connection', async () => {
  await using bytes = await startBytes((socket, connection, number) => {
    if (connection === 2) socket.write(OK.slice(0, -5));
    if (connection === 3 && number === 1) socket.write(OK);
  }, 500);
  await assert.rejects(bytes.lane.send(get(bytes.url)), { code: 'UND_ERR_HEADERS_TIMEOUT' });
  await assert.rejects(async () => textOf(await bytes.lane.send(get(bytes.url))), { code: 'UND_ERR_BODY_TIMEOUT' });
  await textOf(await bytes.lane.send(get(bytes.url)));
  await until('no connection is left', () => bytes.open() === 0);
  assert.equal(bytes.heads.length, 3);
});

test('range lane: an abort between having a connection and asking leaves it to the next', async () => {
  const held: Socket[] = [];
  await using bytes = await startBytes((socket) => void held.push(socket));
  const asked = Array.from({ length: REGISTRY_CONNECTIONS_MAX }, () => bytes.lane.send(get(bytes.url)));
  await until('all connections are used', () => held.length === REGISTRY_CONNECTIONS_MAX);
  const stop = new AbortController();
  const late = bytes.lane.send(get(bytes.url, { signal: stop.signal }));
  for (const socket of held) socket.write(OK.slice(0, -1));
  const [first] = await Promise.all(asked);
  // Before it is told that a connection is free, and after that was so.
  first?.body.onOver(() => queueMicrotask(() => stop.abort(new Error('enough'))));
  held[0]?.write(OK.slice(-1));
  await assert.rejects(late, /enough/);
  assert.equal(bytes.heads.length, REGISTRY_CONNECTIONS_MAX);
  const next = bytes.lane.send(get(bytes.url));
  await until('the next is asked', () => held.length === REGISTRY_CONNECTIONS_MAX + 1);
  held.at(-1)?.write(OK);
  assert.equal(await textOf(await next), '0123456789');
  assert.equal(bytes.open(), REGISTRY_CONNECTIONS_MAX);
});

test('range lane: a connection that is lost between having it and asking is replaced, unless all is over', async () => {
  await using bytes = await startBytes((socket) => void socket.write(OK));
  assert.equal(await textOf(await bytes.lane.send(get(bytes.url))), '0123456789');
  const asked = bytes.lane.send(get(bytes.url));
  bytes.lane.destroy();
  await assert.rejects(asked);
});

test('range lane: so many connections and no more; who waits gets the next; an abort reaches everybody', async () => {
  const held: Socket[] = [];
  await using bytes = await startBytes((socket) => void held.push(socket));
  const count = REGISTRY_CONNECTIONS_MAX + 4;
  const stops = Array.from({ length: count }, () => new AbortController());
  const works = stops.map(({ signal }) => bytes.lane.send(get(bytes.url, { signal })).then(textOf));
  const ended = Promise.allSettled(works);
  await until('all connections are used', () => held.length === REGISTRY_CONNECTIONS_MAX);
  await sleep(30);
  assert.equal(held.length, REGISTRY_CONNECTIONS_MAX);
  // One of those that wait, and one that is answered never.
  stops[count - 1]?.abort(new Error('enough'));
  stops[0]?.abort(new Error('enough'));
  await assert.rejects(works[count - 1] as Promise<string>, /enough/);
  await assert.rejects(works[0] as Promise<string>, /enough/);
  const answered = new Set<number>();
  await until('the others have been asked', () => {
    for (const [at, socket] of held.entries()) {
      if (!answered.has(at)) socket.write(OK);
      answered.add(at);
    }
    return answered.size === count - 1;
  });
  const results = await ended;
  assert.equal(results.filter(({ status }) => status === 'fulfilled').length, count - 2);
  for (const { signal } of stops) assert.equal(getEventListeners(signal, 'abort').length, 0);
  assert.ok(bytes.open() <= REGISTRY_CONNECTIONS_MAX);
});
