// What registries, proxies and networks do wrong, each answered by a server of a few lines.
import assert from 'node:assert/strict';
import { getEventListeners, once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import { sha256Digest } from '../../../src/format/oci/digest.ts';
import { MEDIA_TYPES } from '../../../src/format/oci/media-types.ts';
import { hasBlob, openBlob } from '../../../src/registry/blobs.ts';
import { getManifest, putManifest } from '../../../src/registry/manifests.ts';
import { registryReader } from '../../../src/registry/reader.ts';
import type { Registry } from '../../../src/registry/transport.ts';
import { type Asked, startDouble } from '../../support/http-double.ts';
import { hastyRegistry, someone } from '../../support/registry-client.ts';
import { noise } from '../../support/small-image.ts';

const blob = noise(2_500_000);
const descriptor = { digest: sha256Digest(blob), size: blob.length };

const reader = (registry: Registry) => registryReader(registry, { repository: 'a', ...descriptor });

/** Answers ranges of `blob` as they should be. */
function serveBlob({ headers, method }: Asked, response: ServerResponse): void {
  const match = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? '');
  const [from, to] = match ? [Number(match[1]), Number(match[2]) + 1] : [0, blob.length];
  response.writeHead(match ? 206 : 200, {
    'content-length': to - from,
    ...(match ? { 'content-range': `bytes ${from}-${to - 1}/${blob.length}` } : {}),
  });
  response.end(method === 'HEAD' ? undefined : blob.subarray(from, to));
}

const text = (response: ServerResponse, status: number, body = '', headers: Record<string, string> = {}) => {
  response.writeHead(status, headers).end(body);
  return true;
};

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces);
}

// Each is tried once with the fault on the first answer, and must then read the right bytes.
const cured: readonly (readonly [name: string, fault: (response: ServerResponse, asked: Asked) => void])[] = [
  ['a connection reset before the answer', (response) => response.socket?.resetAndDestroy()],
  ['a connection closed before the answer', (response) => response.socket?.destroy()],
  ['429 with Retry-After', (response) => text(response, 429, '', { 'retry-after': '0' })],
  ['503 in HTML', (response) => text(response, 503, '<html>busy</html>')],
  ['500 that the registry explains', (response) => text(response, 500, '{"errors":[{"code":"UNKNOWN"}]}')],
  [
    'an answer cut short',
    (response) => {
      response.writeHead(206, { 'content-range': `bytes 1000-1099/${blob.length}`, 'content-length': '100' });
      response.write(blob.subarray(1000, 1050), () => response.socket?.destroy());
    },
  ],
  [
    'another range than asked for',
    (response) => {
      response.writeHead(206, { 'content-range': `bytes 0-99/${blob.length}` }).end(blob.subarray(0, 100));
    },
  ],
  ['206 without Content-Range', (response) => text(response, 206, 'x'.repeat(100))],
  ['no HTTP', (response) => response.socket?.end('SSH-2.0-OpenSSH\r\n')],
];
for (const [name, fault] of cured) {
  test(`faults: a range read survives ${name}`, async () => {
    await using double = await startDouble((asked, response, number) =>
      number === 1 ? fault(response, asked) : serveBlob(asked, response),
    );
    await using registry = hastyRegistry(double.host);
    const got = await reader(registry).readAt({ offset: 1000, size: 100 });
    assert.deepEqual(Buffer.from(got), blob.subarray(1000, 1100));
    assert.equal(double.asked.length, 2);
    assert.equal(registry.stats.retries, 1);
  });
}

const final: readonly (readonly [
  name: string,
  answer: (response: ServerResponse, asked: Asked) => void,
  code: string,
  message: RegExp,
  requests: number,
])[] = [
  ['404', (r) => text(r, 404, 'page not found'), 'BLOB_NOT_FOUND', /status 404 \(page not found\)$/, 1],
  [
    '403',
    (r) => text(r, 403, '{"errors":[{"code":"DENIED","message":"no \\u001b[31mway"}]}'),
    'ACCESS_DENIED',
    /status 403 \(DENIED: no .\[31mway\); no credentials were sent \(it asked for none\)$/,
    1,
  ],
  ['401 without a challenge', (r) => text(r, 401), 'ACCESS_DENIED', /status 401; no credentials were sent/, 2],
  [
    'a challenge we do not know',
    (r) => text(r, 401, '', { 'www-authenticate': 'Negotiate' }),
    'ACCESS_DENIED',
    /asks for negotiate authentication/,
    1,
  ],
  ['418', (r) => text(r, 418), 'REGISTRY_PROTOCOL', /status 418$/, 1],
  ['500 all the time', (r) => text(r, 500), 'REGISTRY_UNAVAILABLE', /status 500, after 3 attempts$/, 3],
  ['resets all the time', (r) => r.socket?.resetAndDestroy(), 'REGISTRY_UNAVAILABLE', /after 3 attempts$/, 3],
  [
    'a blob of another size',
    (r) => text(r, 206, 'x'.repeat(100), { 'content-range': 'bytes 1000-1099/5000' }),
    'SIZE_MISMATCH',
    /expected a blob of 2500000 bytes, the registry has 5000/,
    1,
  ],
  [
    '416 with a length that never comes',
    (r) => {
      r.writeHead(416, { 'content-range': 'bytes */10', 'content-length': '1000000' });
      r.write('short');
    },
    'SIZE_MISMATCH',
    /the registry has 10$/,
    1,
  ],
];
for (const [name, answer, code, message, requests] of final) {
  test(`faults: a range read ends on ${name}`, async () => {
    await using double = await startDouble((asked, response) => answer(response, asked));
    await using registry = hastyRegistry(double.host);
    await assert.rejects(reader(registry).readAt({ offset: 1000, size: 100 }), { code, message });
    assert.equal(double.asked.length, requests);
  });
}

test('faults: a registry that ignores ranges is read up to the range, and that is counted', async () => {
  await using double = await startDouble((_, response) => text(response, 200, blob as unknown as string));
  await using registry = hastyRegistry(double.host);
  const got = await reader(registry).readAt({ offset: 2_000_000, size: 100 });
  assert.deepEqual(Buffer.from(got), blob.subarray(2_000_000, 2_000_100));
  assert.equal(registry.stats.rangesIgnored, 1);
});

test('faults: a range far into a blob is not paid for with all that is before it', async () => {
  await using double = await startDouble((_, response) => {
    response.writeHead(200, { 'content-length': String(100_000_000) });
    response.write(blob);
  });
  await using registry = hastyRegistry(double.host, { attemptsMax: 2 });
  const far = registryReader(registry, { repository: 'a', digest: descriptor.digest, size: 100_000_000 });
  await assert.rejects(far.readAt({ offset: 90_000_000, size: 100 }), {
    code: 'REGISTRY_PROTOCOL',
    message: /sends the whole blob, after 2 attempts/,
    hint: /ranged requests/,
  });
});

test('faults: a registry that is not there, or never answers, ends a read by the deadline', async () => {
  const silent = createServer(() => {}).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  await using registry = hastyRegistry(`127.0.0.1:${(silent.address() as AddressInfo).port}`, { deadlineMs: 200 });
  const started = performance.now();
  await assert.rejects(reader(registry).readAt({ offset: 0, size: 1 }), {
    code: 'REGISTRY_UNAVAILABLE',
    message: /no result within 0.2 s/,
  });
  assert.ok(performance.now() - started < 20_000);
  silent.close();
  await using gone = hastyRegistry('127.0.0.1:1');
  await assert.rejects(reader(gone).readAt({ offset: 0, size: 1 }), {
    code: 'REGISTRY_UNAVAILABLE',
    message: /connection refused, after 3 attempts/,
  });
});

test('faults: a stalled answer ends by the deadline as well', async () => {
  await using double = await startDouble((_, response) => {
    response.writeHead(206, { 'content-range': `bytes 0-99/${blob.length}`, 'content-length': '100' });
    response.write('x');
  });
  await using registry = hastyRegistry(double.host, { deadlineMs: 200 });
  await assert.rejects(reader(registry).readAt({ offset: 0, size: 100 }), { code: 'REGISTRY_UNAVAILABLE' });
});

test('faults: many reads under one signal leave nothing on it and warn of nothing', async () => {
  await using double = await startDouble(serveBlob);
  await using registry = hastyRegistry(double.host);
  const { signal } = new AbortController();
  const warnings: unknown[] = [];
  const onWarning = (warning: unknown) => warnings.push(warning);
  process.on('warning', onWarning);
  await Promise.all(Array.from({ length: 30 }, () => reader(registry).readAt({ offset: 5, size: 5 }, signal)));
  await Promise.all(Array.from({ length: 12 }, async () => collect(await openBlob(registry, 'a', descriptor, signal))));
  await new Promise((resolve) => setImmediate(resolve));
  process.off('warning', onWarning);
  assert.deepEqual(warnings, []);
  assert.equal(getEventListeners(signal, 'abort').length, 0);
});

test('faults: a slow line gets the time it needs, a trickle does not', async () => {
  // So many bytes a second, until the range is full: longer than the deadline in both cases.
  const answer = (rate: number) => (_: Asked, response: ServerResponse) => {
    response.writeHead(206, { 'content-range': `bytes 0-99999/${blob.length}`, 'content-length': '100000' });
    let sent = 0;
    const began = performance.now();
    const timer = setInterval(() => {
      const due = Math.min(100_000, Math.floor((rate * (performance.now() - began)) / 1000));
      response.write(blob.subarray(sent, due));
      sent = due;
      if (sent === 100_000 || response.destroyed) clearInterval(timer);
    }, 20);
  };
  await using slow = await startDouble(answer(80_000));
  await using patient = hastyRegistry(slow.host, { deadlineMs: 700 });
  const got = await reader(patient).readAt({ offset: 0, size: 100_000 });
  assert.deepEqual(Buffer.from(got), blob.subarray(0, 100_000));
  await using trickle = await startDouble(answer(500));
  await using other = hastyRegistry(trickle.host, { deadlineMs: 700 });
  const started = performance.now();
  await assert.rejects(reader(other).readAt({ offset: 0, size: 100_000 }), { code: 'REGISTRY_UNAVAILABLE' });
  assert.ok(performance.now() - started < 20_000);
});

test('faults: a stream that breaks is taken up where it broke', async () => {
  for (const ignoresRanges of [false, true]) {
    await using double = await startDouble((asked, response, number) => {
      if (number > 2) return serveBlob(ignoresRanges ? { ...asked, headers: {} } : asked, response);
      const from = Number(/^bytes=(\d+)-/.exec(asked.headers.range ?? '')?.[1] ?? 0);
      const headers = { 'content-length': String(blob.length - from) };
      const range = { 'content-range': `bytes ${from}-${blob.length - 1}/${blob.length}` };
      response.writeHead(from ? 206 : 200, from ? { ...headers, ...range } : headers);
      response.write(blob.subarray(from, from + 500_000), () => response.socket?.destroy());
    });
    await using registry = hastyRegistry(double.host);
    assert.deepEqual(await collect(await openBlob(registry, 'a', descriptor)), blob);
    assert.equal(double.asked.length, 3);
  }
});

const badStreams: readonly (readonly [name: string, answer: (response: ServerResponse) => void, code: string])[] = [
  ['other bytes', (r) => text(r, 200, Buffer.alloc(blob.length) as unknown as string), 'DIGEST_MISMATCH'],
  ['a length that is not the size', (r) => text(r, 200, '', { 'content-length': '5' }), 'SIZE_MISMATCH'],
  [
    'more bytes than the size',
    (r) => {
      r.writeHead(200);
      r.write(blob);
      r.end(blob);
    },
    'SIZE_MISMATCH',
  ],
  [
    'fewer bytes than the size',
    (r) => {
      r.writeHead(200);
      r.end(blob.subarray(0, 10));
    },
    'SIZE_MISMATCH',
  ],
];
for (const [name, answer, code] of badStreams) {
  test(`faults: a whole blob with ${name} is refused`, async () => {
    await using double = await startDouble((_, response) => answer(response));
    await using registry = hastyRegistry(double.host);
    await assert.rejects(async () => collect(await openBlob(registry, 'a', descriptor)), { code });
  });
}

test('faults: a stream that breaks again and again without progress ends', async () => {
  await using double = await startDouble((asked, response) => {
    const from = Number(/^bytes=(\d+)-/.exec(asked.headers.range ?? '')?.[1] ?? 0);
    const range = { 'content-range': `bytes ${from}-${blob.length - 1}/${blob.length}` };
    response.writeHead(from ? 206 : 200, { 'content-length': String(blob.length - from), ...(from ? range : {}) });
    response.write(blob.subarray(from, from + 1000), () => response.socket?.destroy());
  });
  await using registry = hastyRegistry(double.host);
  await assert.rejects(async () => collect(await openBlob(registry, 'a', descriptor)), {
    code: 'REGISTRY_UNAVAILABLE',
  });
  assert.ok(double.asked.length < 10);
});

test('faults: redirects are followed without our credentials, also in a challenge of the other host', async () => {
  await using storage = await startDouble((asked, response) => {
    if (asked.path.startsWith('/denied')) return text(response, 401, '', { 'www-authenticate': 'Basic realm="x"' });
    serveBlob(asked, response);
  });
  let target = '/blob?signature=s1gnature';
  await using double = await startDouble(({ headers }, response) => {
    if (!headers.authorization) return text(response, 401, '', { 'www-authenticate': 'Basic realm="x"' });
    text(response, 307, '', { location: `${storage.url}${target}` });
  });
  await using registry = hastyRegistry(double.host, { credentials: someone, attemptsMax: 2 });
  const got = await reader(registry).readAt({ offset: 10, size: 5 });
  assert.deepEqual(Buffer.from(got), blob.subarray(10, 15));
  assert.deepEqual(
    storage.asked.map(({ headers }) => headers.authorization),
    [undefined],
  );
  assert.equal(storage.asked[0]?.headers.range, 'bytes=10-14');
  // HEAD is not followed: signed addresses are good for GET only.
  assert.equal(await hasBlob(registry, { repository: 'a', ...descriptor }), true);
  assert.equal(storage.asked.length, 1);

  target = '/denied?signature=s1gnature';
  const error: Error = await reader(registry)
    .readAt({ offset: 10, size: 5 })
    .then(
      () => assert.fail(),
      (e) => e,
    );
  assert.equal((error as NodeJS.ErrnoException).code, 'ACCESS_DENIED');
  assert.match(error.message, /redirected to http:\/\/127\.0\.0\.1:\d+\/denied\?…: status 401/);
  assert.doesNotMatch(error.message, /s1gnature|p4ssw0rd/);
  assert.ok(storage.asked.every(({ headers }) => headers.authorization === undefined));
});

test('faults: redirects in circles end', async () => {
  await using double = await startDouble((asked, response) => text(response, 302, '', { location: asked.path }));
  await using registry = hastyRegistry(double.host);
  await assert.rejects(reader(registry).readAt({ offset: 0, size: 1 }), {
    code: 'REGISTRY_PROTOCOL',
    message: /more than 5 redirects/,
  });
});

test('faults: a token that is refused is dropped, and the ping tells the scheme', async () => {
  const bearer = (host: string | undefined) => ({
    'www-authenticate': `Bearer realm="http://${host}/token",service="s"`,
  });
  let valid = 1;
  await using double = await startDouble((asked, response) => {
    const { host, authorization } = asked.headers;
    if (asked.path.startsWith('/token')) return text(response, 200, JSON.stringify({ token: `token-${valid}` }));
    if (asked.path === '/v2/') return text(response, 401, '', bearer(host));
    if (authorization === `Bearer token-${valid}`) return serveBlob(asked, response);
    // As Harbor does it: a stale token is answered with the wrong scheme.
    text(response, 401, '', authorization ? { 'www-authenticate': 'Basic realm="x"' } : bearer(host));
  });
  await using registry = hastyRegistry(double.host);
  await reader(registry).readAt({ offset: 0, size: 1 });
  await reader(registry).readAt({ offset: 0, size: 1 });
  const paths = () => double.asked.splice(0).map(({ path }) => path.replace(/\?.*/, '').replace(/sha256:.*/, 'D'));
  assert.deepEqual(paths(), ['/v2/a/blobs/D', '/token', '/v2/a/blobs/D', '/v2/a/blobs/D']);
  valid = 2;
  await reader(registry).readAt({ offset: 0, size: 1 });
  assert.deepEqual(paths(), ['/v2/a/blobs/D', '/v2/', '/token', '/v2/a/blobs/D']);
});

const badTokens: readonly (readonly [name: string, body: string, status: number, code: string])[] = [
  ['no JSON', '<html>s3cret</html>', 200, 'REGISTRY_PROTOCOL'],
  ['no token', '{}', 200, 'REGISTRY_PROTOCOL'],
  ['a token that breaks a header', '{"token":"a\\r\\nb"}', 200, 'REGISTRY_PROTOCOL'],
  ['an endless answer', 'x'.repeat(100_000), 200, 'LIMIT_EXCEEDED'],
  ['403', '', 403, 'ACCESS_DENIED'],
  ['500', '', 500, 'REGISTRY_UNAVAILABLE'],
];
for (const [name, body, status, code] of badTokens) {
  test(`faults: a token service that answers with ${name}`, async () => {
    await using double = await startDouble((asked, response) => {
      if (asked.path.startsWith('/token')) return text(response, status, body);
      text(response, 401, '', { 'www-authenticate': `Bearer realm="http://${asked.headers.host}/token"` });
    });
    await using registry = hastyRegistry(double.host, { credentials: someone });
    const error: Error = await reader(registry)
      .readAt({ offset: 0, size: 1 })
      .then(
        () => assert.fail(),
        (e) => e,
      );
    assert.equal((error as NodeJS.ErrnoException).code, code, error.message);
    assert.doesNotMatch(error.message, /p4ssw0rd|s3cret/);
  });
}

test('faults: what a registry repeats of our secrets does not come through', async () => {
  const basic = Buffer.from('u:p4ssw0rd').toString('base64');
  await using double = await startDouble(({ headers }, response) => {
    if (!headers.authorization) return text(response, 401, '', { 'www-authenticate': 'Basic realm="x"' });
    text(response, 403, JSON.stringify({ errors: [{ code: 'DENIED', message: `${headers.authorization} p4ssw0rd` }] }));
  });
  await using registry = hastyRegistry(double.host, { credentials: someone });
  const error: Error = await reader(registry)
    .readAt({ offset: 0, size: 1 })
    .then(
      () => assert.fail(),
      (e) => e,
    );
  assert.match(error.message, /DENIED: Basic \*\*\* \*\*\*/);
  assert.ok(!error.message.includes(basic));
});

const document = {
  schemaVersion: 2,
  mediaType: MEDIA_TYPES.ociManifest,
  config: { ...descriptor, mediaType: 'x/y' },
  layers: [],
};
const manifestBytes = Buffer.from(JSON.stringify(document));
const manifestDigest = sha256Digest(manifestBytes);
const manifests: readonly (readonly [name: string, answer: (response: ServerResponse) => void, code: string])[] = [
  ['other bytes', (r) => text(r, 200, '{}', { 'content-type': MEDIA_TYPES.ociManifest }), 'DIGEST_MISMATCH'],
  [
    'another type',
    (r) => text(r, 200, manifestBytes.toString(), { 'content-type': MEDIA_TYPES.ociIndex }),
    'MANIFEST_INVALID',
  ],
  ['5 MiB', (r) => text(r, 200, ' '.repeat(5 * 1024 * 1024)), 'LIMIT_EXCEEDED'],
];
for (const [name, answer, code] of manifests) {
  test(`faults: a manifest with ${name} is refused`, async () => {
    await using double = await startDouble((_, response) => answer(response));
    await using registry = hastyRegistry(double.host);
    await assert.rejects(getManifest(registry, { repository: 'a', selector: manifestDigest }), { code });
  });
}

test('faults: a manifest is taken by its own word where the server has none, and all types are asked for', async () => {
  await using double = await startDouble((_, response) => text(response, 200, manifestBytes.toString()));
  await using registry = hastyRegistry(double.host);
  const got = await getManifest(registry, { repository: 'a', selector: manifestDigest });
  assert.equal(got.mediaType, MEDIA_TYPES.ociManifest);
  for (const type of ['oci.image.index', 'oci.image.manifest', 'manifest.list.v2', 'distribution.manifest.v2']) {
    assert.ok(double.asked[0]?.headers.accept?.includes(type), type);
  }
});

test('faults: a tag whose bytes are not those the registry announces', async () => {
  await using double = await startDouble((_, response) =>
    text(response, 200, manifestBytes.toString(), { 'docker-content-digest': `sha256:${'0'.repeat(64)}` }),
  );
  await using registry = hastyRegistry(double.host);
  await assert.rejects(getManifest(registry, { repository: 'a', selector: 'x' }), { code: 'DIGEST_MISMATCH' });
});

test('faults: a manifest that was stored as another is noticed', async () => {
  await using double = await startDouble((_, response) =>
    text(response, 201, '', { 'docker-content-digest': `sha256:${'0'.repeat(64)}` }),
  );
  await using registry = hastyRegistry(double.host);
  const manifest = { mediaType: MEDIA_TYPES.ociManifest, digest: manifestDigest, bytes: manifestBytes };
  await assert.rejects(putManifest(registry, { repository: 'a', selector: 'x' }, manifest), {
    code: 'REGISTRY_PROTOCOL',
  });
});

// What servers say that are spoken to without TLS: Go's, nginx and Apache.
for (const said of [
  'Client sent an HTTP request to an HTTPS server.',
  '<center>The plain HTTP request was sent to HTTPS port</center>',
  "Reason: You're speaking plain HTTP to an SSL-enabled server port.",
]) {
  test(`faults: whoever speaks no TLS is told to, when the registry says: ${said}`, async () => {
    await using double = await startDouble((_, response) => void text(response, 400, said));
    await using registry = hastyRegistry(double.host);
    await assert.rejects(getManifest(registry, { repository: 'a', selector: 'x' }), {
      code: 'REGISTRY_PROTOCOL',
      hint: /Leave out --plain-http/,
    });
  });
}
