// Answers that do not end, or hardly begin: one clear error, in bounded time and memory.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { test } from 'node:test';
import { REGISTRY_ORIGINS_MAX } from '../../../src/base/limits.ts';
import { MiB } from '../../../src/base/units.ts';
import { sha256Digest } from '../../../src/format/oci/digest.ts';
import { hasBlob, openBlob } from '../../../src/registry/blobs.ts';
import { getManifest, headManifest, putManifest } from '../../../src/registry/manifests.ts';
import { registryReader } from '../../../src/registry/reader.ts';
import { listReferrers } from '../../../src/registry/referrers.ts';
import { listTags } from '../../../src/registry/tags.ts';
import type { Registry, RegistryOptions } from '../../../src/registry/transport.ts';
import { uploadBlob } from '../../../src/registry/upload.ts';
import { type Asked, startDouble } from '../../support/http-double.ts';
import { hastyRegistry, someone } from '../../support/registry-client.ts';
import { until } from '../../support/until.ts';

const DIGEST = `sha256:${'0'.repeat(64)}`;
const BLOB = { digest: DIGEST, size: 3 * MiB };
const open = (host: string, options: RegistryOptions = {}) =>
  hastyRegistry(host, { credentials: someone, attemptsMax: 2, ...options });

/** Writes for as long as somebody reads. */
function pour(response: ServerResponse, piece = Buffer.alloc(65_536, 'x')): void {
  const more = () => {
    while (!response.destroyed && response.write(piece)) {
      // Until it is full.
    }
  };
  response.on('drain', more);
  more();
}

interface Case {
  readonly name: string;
  readonly answer: (response: ServerResponse, asked: Asked) => void;
  readonly ask: (registry: Registry) => Promise<unknown>;
  /** Of the error; undefined where what comes behind the end does not matter. */
  readonly code?: string;
}

const endless =
  (status: number, headers: Record<string, string> = {}) =>
  (response: ServerResponse) => {
    response.writeHead(status, headers);
    pour(response);
  };
const reader = (registry: Registry) => registryReader(registry, { repository: 'a', ...BLOB });
async function drain(pieces: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const _ of pieces);
}

const cases: readonly Case[] = [
  {
    name: 'manifest',
    answer: endless(200),
    ask: (registry) => getManifest(registry, { repository: 'a', selector: '1' }),
    code: 'LIMIT_EXCEEDED',
  },
  {
    name: 'text of an error',
    answer: endless(400),
    ask: (registry) => getManifest(registry, { repository: 'a', selector: '1' }),
    code: 'REGISTRY_PROTOCOL',
  },
  { name: 'list of tags', answer: endless(200), ask: (registry) => listTags(registry, 'a'), code: 'LIMIT_EXCEEDED' },
  {
    name: 'list of referrers',
    answer: endless(200, { 'content-type': 'application/json' }),
    ask: (registry) => listReferrers(registry, 'a', DIGEST),
    code: 'LIMIT_EXCEEDED',
  },
  {
    name: 'token',
    answer: (response, asked) => {
      if (asked.path.startsWith('/token')) return endless(200)(response);
      const realm = `http://${asked.headers.host}/token`;
      response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}"` }).end();
    },
    ask: (registry) => getManifest(registry, { repository: 'a', selector: '1' }),
    code: 'LIMIT_EXCEEDED',
  },
  {
    name: 'challenge',
    answer: endless(401, { 'www-authenticate': 'Basic realm="x"' }),
    ask: (registry) => getManifest(registry, { repository: 'a', selector: '1' }),
    code: 'ACCESS_DENIED',
  },
  {
    name: 'blob',
    answer: endless(200),
    ask: async (registry) => drain(await openBlob(registry, 'a', BLOB)),
    code: 'SIZE_MISMATCH',
  },
  {
    name: 'range',
    answer: endless(206, { 'content-range': `bytes 0-99/${BLOB.size}` }),
    ask: (registry) => reader(registry).readAt({ offset: 0, size: 100 }),
  },
  {
    name: 'answer to a stored manifest',
    answer: endless(201),
    ask: (registry) =>
      putManifest(
        registry,
        { repository: 'a', selector: '1' },
        { mediaType: 'x/y', digest: DIGEST, bytes: Buffer.from('{}') },
      ),
  },
  {
    name: 'answers to an upload',
    answer: (response, asked) => {
      endless(asked.method === 'PUT' ? 201 : 202, { location: '/upload' })(response);
    },
    ask: (registry) =>
      uploadBlob(registry, {
        repository: 'a',
        descriptor: { digest: DIGEST, size: 5 },
        open: () => Buffer.from('hello'),
      }),
  },
];

for (const { name, answer, ask, code } of cases) {
  test(`endless: ${name}`, async () => {
    await using double = await startDouble((asked, response) => answer(response, asked));
    await using registry = open(double.host);
    const before = process.memoryUsage().rss;
    if (code === undefined) await ask(registry);
    else await assert.rejects(ask(registry), { code });
    // The other side is in this process too.
    assert.ok(process.memoryUsage().rss - before < 200 * MiB);
    assert.ok(double.asked.length <= 6, `${double.asked.length} requests`);
  });
}

test('endless: headers', async () => {
  await using double = await startDouble((_, response) => {
    response.socket?.write('HTTP/1.1 200 OK\r\n');
    const timer = setInterval(() => {
      if (!response.socket?.writable) clearInterval(timer);
      else response.socket.write(`X-${Math.random()}: ${'x'.repeat(8000)}\r\n`);
    }, 1);
  });
  await using registry = open(double.host);
  await assert.rejects(headManifest(registry, { repository: 'a', selector: '1' }), {
    code: 'REGISTRY_UNAVAILABLE',
    message: /more headers than anyone needs/,
  });
});

test('endless: a blob that trickles ends, one that is read slowly does not', async () => {
  const blob = Buffer.alloc(2 * MiB, 'x');
  await using trickle = await startDouble((_, response) => {
    response.writeHead(200);
    const timer = setInterval(() => {
      if (response.destroyed) clearInterval(timer);
      else response.write('x');
    }, 20);
  });
  await using slow = open(trickle.host, { deadlineMs: 300 });
  const began = performance.now();
  await assert.rejects(async () => drain(await openBlob(slow, 'a', BLOB)), {
    code: 'REGISTRY_UNAVAILABLE',
    message: /it comes too slowly/,
  });
  assert.ok(performance.now() - began < 10_000);
  await using quick = await startDouble((_, response) => void response.end(blob));
  await using registry = open(quick.host, { deadlineMs: 1000 });
  let size = 0;
  const descriptor = { digest: sha256Digest(blob), size: blob.length };
  for await (const piece of await openBlob(registry, 'a', descriptor)) {
    if (size === 0) await new Promise((resolve) => setTimeout(resolve, 1300));
    size += piece.length;
  }
  assert.equal(size, blob.length);
});

test('endless: redirects of a token service end, and take no password to another host', async () => {
  await using elsewhere = await startDouble((_, response) => void response.end('{"token":"t"}'));
  let target = '';
  await using double = await startDouble((asked, response) => {
    if (asked.path.startsWith('/token')) return void response.writeHead(307, { location: target }).end();
    const realm = `http://${asked.headers.host}/token`;
    const challenge = { 'www-authenticate': `Bearer realm="${realm}"` };
    response.writeHead(asked.headers.authorization === 'Bearer t' ? 200 : 401, challenge).end();
  });
  await using registry = open(double.host);
  target = `${double.url}/token?again`;
  await assert.rejects(hasBlob(registry, { repository: 'a', digest: DIGEST }), {
    code: 'REGISTRY_PROTOCOL',
    message: /more than 5 redirects/,
  });
  target = `${elsewhere.url}/token`;
  assert.equal(await hasBlob(registry, { repository: 'a', digest: DIGEST }), true);
  assert.equal(double.asked.filter(({ headers }) => headers.authorization?.startsWith('Basic')).length > 0, true);
  assert.deepEqual(
    elsewhere.asked.map(({ headers }) => headers.authorization),
    [undefined],
  );
});

test('endless: an upload that is sent from address to address ends', async () => {
  await using double = await startDouble((asked, response) => {
    response.writeHead(asked.method === 'POST' ? 202 : 307, { location: `/upload?${Math.random()}` }).end();
  });
  await using registry = open(double.host);
  const upload = { repository: 'a', descriptor: { digest: DIGEST, size: 5 }, open: () => Buffer.from('hello') };
  await assert.rejects(uploadBlob(registry, upload), { code: 'REGISTRY_PROTOCOL', message: /more than 5 redirects/ });
  assert.ok(double.asked.length < 20);
});

test('endless: what a token says of its time is not measured by our clock', async () => {
  let tokens = 0;
  let skewMs = 0;
  await using double = await startDouble((asked, response) => {
    if (asked.path.startsWith('/token')) {
      tokens++;
      const issued = new Date(Date.now() + skewMs).toISOString();
      return void response.end(JSON.stringify({ token: `t${tokens}`, expires_in: 300, issued_at: issued }));
    }
    const challenge = { 'www-authenticate': `Bearer realm="http://${asked.headers.host}/token"` };
    response.writeHead(asked.headers.authorization ? 404 : 401, challenge).end();
  });
  for (skewMs of [-86_400_000, 86_400_000]) {
    tokens = 0;
    await using registry = open(double.host);
    for (let count = 0; count < 3; count++) await hasBlob(registry, { repository: 'a', digest: DIGEST });
    assert.equal(tokens, 1);
  }
});

test('endless: hosts that blobs are said to be at', async () => {
  const sockets = new Set<Socket>();
  // It closes none by itself.
  const server = createServer({ keepAliveTimeout: 600_000 }, ({ url, headers, socket }, response) => {
    const [, first, last] = /(\d+)-(\d+)$/.exec(headers.range ?? '') ?? [];
    if (headers.host?.startsWith('127.0.0.1:')) {
      response.writeHead(307, { location: `http://127.0.1.${last}:${socket.localPort}${url}` }).end();
    } else {
      const range = `bytes ${first}-${last}/${BLOB.size}`;
      response.writeHead(206, { 'content-range': range }).end(Buffer.alloc(Number(last) - Number(first) + 1));
    }
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.listen(0, '0.0.0.0');
  await once(server, 'listening');
  try {
    await using registry = open(`127.0.0.1:${(server.address() as AddressInfo).port}`);
    const count = REGISTRY_ORIGINS_MAX + 20;
    for (let last = 1; last <= count; last++) await reader(registry).readAt({ offset: 0, size: last + 1 });
    assert.equal(registry.stats.requests, 2 * count);
    await until('connections to the oldest are closed', () => sockets.size <= REGISTRY_ORIGINS_MAX, { withinSec: 20 });
  } finally {
    server.close();
    server.closeAllConnections();
  }
});
