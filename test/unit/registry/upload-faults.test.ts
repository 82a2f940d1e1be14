// What goes wrong with pushes, each produced by a server of a few lines.
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { test } from 'node:test';
import { UPLOAD_CHUNK_HELD_MAX } from '../../../src/base/limits.ts';
import { sha256Digest } from '../../../src/format/oci/digest.ts';
import { uploadBlob } from '../../../src/registry/upload.ts';
import { beginUpload } from '../../../src/registry/upload-session.ts';
import { type Asked, startDouble } from '../../support/http-double.ts';
import { hastyRegistry, someone } from '../../support/registry-client.ts';
import { noise } from '../../support/small-image.ts';

const blob = noise(2_500_000);
const descriptor = { digest: sha256Digest(blob), size: blob.length };

const text = (response: ServerResponse, status: number, body = '', headers: Record<string, string> = {}) => {
  response.writeHead(status, headers).end(body);
  return true;
};

/** A registry that takes uploads; `fault` may answer a PUT itself, and then returns true. */
async function startUploads(
  fault: (response: ServerResponse, puts: number) => boolean,
  location: (number: number) => string = (number) => `/upload/${number}?state=a%2Fb`,
) {
  const state = { stored: false, puts: 0 };
  const double = await startDouble((asked, response, number) => {
    if (asked.method === 'HEAD') return text(response, state.stored ? 200 : 404);
    if (asked.method === 'POST') return text(response, 202, '', { location: location(number) });
    if (asked.method === 'DELETE') return text(response, 204);
    if (asked.method === 'GET') return text(response, 404);
    if (asked.method === 'PATCH') return text(response, 202, '', { location: location(number) });
    state.puts++;
    if (fault(response, state.puts)) return;
    state.stored = true;
    text(response, 201);
  });
  return { double, state };
}
const upload = { repository: 'a', descriptor, open: () => blob };
const methods = (asked: readonly Asked[]) => asked.map(({ method }) => method).join(' ');

test('faults: an upload address keeps its query, and gets the digest and the length', async () => {
  const { double } = await startUploads(() => false);
  await using _ = double;
  await using registry = hastyRegistry(double.host);
  await uploadBlob(registry, { ...upload, open: () => pieces() });
  assert.equal(methods(double.asked), 'POST PUT');
  assert.equal(double.asked[1]?.path, `/upload/1?state=a%2Fb&digest=${encodeURIComponent(descriptor.digest)}`);
  assert.equal(double.asked[1]?.headers['content-length'], String(blob.length));
  assert.equal(double.asked[1]?.headers['content-type'], 'application/octet-stream');
  assert.equal(double.asked[1]?.headers['transfer-encoding'], undefined);
  assert.equal(double.asked[0]?.headers['content-length'], '0');
});

async function* pieces(): AsyncGenerator<Uint8Array, void, void> {
  for (let offset = 0; offset < blob.length; offset += 65_536) yield blob.subarray(offset, offset + 65_536);
}

const uploads: readonly (readonly [
  name: string,
  fault: (response: ServerResponse, puts: number) => boolean,
  want: string,
])[] = [
  ['a session that is gone', (r, puts) => puts === 1 && text(r, 404), 'POST PUT DELETE POST PATCH PUT'],
  ['a server error', (r, puts) => puts === 1 && text(r, 503), 'POST PUT GET DELETE HEAD POST PUT'],
  ['a lost connection', (r, puts) => puts === 1 && Boolean(r.socket?.destroy()), 'POST PUT GET DELETE HEAD POST PUT'],
];
for (const [name, fault, want] of uploads) {
  test(`faults: an upload survives ${name}`, async () => {
    const { double } = await startUploads(fault);
    await using _ = double;
    await using registry = hastyRegistry(double.host);
    await uploadBlob(registry, upload);
    assert.equal(methods(double.asked), want);
  });
}

test('faults: an upload whose answer got lost is not sent again', async () => {
  const { double, state } = await startUploads((response) => {
    state.stored = true;
    response.socket?.destroy();
    return true;
  });
  await using _ = double;
  await using registry = hastyRegistry(double.host);
  await uploadBlob(registry, upload);
  assert.equal(methods(double.asked), 'POST PUT GET DELETE HEAD');
});

test('faults: a digest the registry refuses twice is ours to blame', async () => {
  const refused = JSON.stringify({ errors: [{ code: 'DIGEST_INVALID', message: 'provided digest did not match' }] });
  const { double } = await startUploads((response) => text(response, 400, refused));
  await using _ = double;
  await using registry = hastyRegistry(double.host);
  await assert.rejects(uploadBlob(registry, upload), { code: 'DIGEST_MISMATCH', message: /DIGEST_INVALID/ });
  assert.equal(methods(double.asked), 'POST PUT DELETE HEAD POST PUT DELETE');
});

test('faults: an upload address on another host gets no credentials', async () => {
  await using elsewhere = await startDouble((_, response) => text(response, 201));
  const { double } = await startUploads(
    () => false,
    () => `${elsewhere.url}/put?sig=1`,
  );
  await using _ = double;
  await using registry = hastyRegistry(double.host, { credentials: someone });
  await uploadBlob(registry, upload);
  assert.equal(methods(elsewhere.asked), 'PUT');
  assert.equal(elsewhere.asked[0]?.headers.authorization, undefined);
});

test('faults: a file that cannot be read is not the registry’s fault', async () => {
  const { double } = await startUploads(() => false);
  await using _ = double;
  await using registry = hastyRegistry(double.host);
  const broken = async function* (): AsyncGenerator<Uint8Array, void, void> {
    yield blob.subarray(0, 1000);
    throw Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO', syscall: 'read' });
  };
  await assert.rejects(uploadBlob(registry, { ...upload, open: broken }), { code: 'EIO' });
  assert.ok(double.asked.length <= 3);
});

test('faults: a registry that wants enormous parts does not make us hold them', async () => {
  const headers = { location: '/upload/1', 'oci-chunk-min-length': String(2 ** 52) };
  await using double = await startDouble((_, response) => void text(response, 202, '', headers));
  await using registry = hastyRegistry(double.host);
  const place = { repository: 'a', digest: descriptor.digest, what: 'upload', signal: undefined };
  assert.equal((await beginUpload(registry, place)).chunkMin, UPLOAD_CHUNK_HELD_MAX);
});
