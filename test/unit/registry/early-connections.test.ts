import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { test } from 'node:test';
import { EarlyConnections } from '../../../src/registry/early-connections.ts';

async function listening(use: (server: Server, origin: URL, sockets: Socket[]) => Promise<void>): Promise<void> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    await use(server, new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`), sockets);
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}

function connected(early: EarlyConnections, { host, hostname, protocol, port }: URL): Promise<Socket> {
  return new Promise((resolve, reject) => {
    early.connect({ host, hostname, protocol, port }, (error, socket) =>
      error ? reject(error) : resolve(socket as Socket),
    );
  });
}

test('what was made early is taken first, and then a connection is made', async () => {
  await listening(async (server, origin, sockets) => {
    using early = new EarlyConnections(origin, { timeout: 10_000 });
    early.make(1);
    if (sockets.length === 0) await once(server, 'connection');
    const first = await connected(early, origin);
    assert.equal(first.localPort, sockets[0]?.remotePort);
    const second = await connected(early, origin);
    assert.notEqual(second.localPort, first.localPort);
    for (const socket of [first, second]) socket.destroy();
  });
});

test('one that spoke before it was asked, or ended, is not used', async () => {
  await listening(async (server, origin, sockets) => {
    for (const spoil of [
      (socket: Socket) => socket.write('HTTP/1.1 200 OK\r\n\r\n'),
      (socket: Socket) => socket.destroy(),
    ]) {
      sockets.length = 0;
      using early = new EarlyConnections(origin, { timeout: 10_000 });
      early.make(1);
      if (sockets.length === 0) await once(server, 'connection');
      const spoiled = sockets[0] as Socket;
      spoil(spoiled);
      // A round trip to the same place, and all that came meanwhile is read.
      (await connected(new EarlyConnections(origin, { timeout: 10_000 }), origin)).destroy();
      await new Promise((resolve) => setImmediate(resolve));
      const taken = await connected(early, origin);
      assert.notEqual(taken.localPort, spoiled.remotePort);
      taken.destroy();
    }
  });
});

test('a failure is told to who takes the connection while it is made, and to nobody else', async () => {
  await listening(async (server, origin) => {
    server.close();
    await once(server, 'close');
    using early = new EarlyConnections(origin, { timeout: 10_000 });
    early.make(2);
    await assert.rejects(connected(early, origin), { code: 'ECONNREFUSED' });
    await new Promise((resolve) => setImmediate(resolve));
    // The other one was nobody's: this one is new, and fails by itself.
    await assert.rejects(connected(early, origin), { code: 'ECONNREFUSED' });
  });
});

test('what nobody took ends with it', async () => {
  await listening(async (server, origin, sockets) => {
    const early = new EarlyConnections(origin, { timeout: 10_000 });
    early.make(1);
    if (sockets.length === 0) await once(server, 'connection');
    const [socket] = sockets as [Socket];
    early[Symbol.dispose]();
    socket.resume();
    if (!socket.closed) await once(socket, 'close');
  });
});
