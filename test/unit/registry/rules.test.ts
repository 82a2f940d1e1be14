// Rules of getting on with registries that no other test holds us to.
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { test } from 'node:test';
import { sha256Digest } from '../../../src/format/oci/digest.ts';
import { hasBlob } from '../../../src/registry/blobs.ts';
import { hasReferrersApi } from '../../../src/registry/referrers.ts';
import { listTags } from '../../../src/registry/tags.ts';
import { uploadBlob } from '../../../src/registry/upload.ts';
import { type Asked, startDouble } from '../../support/http-double.ts';
import { hastyRegistry, someone } from '../../support/registry-client.ts';

const blob = Buffer.from('hello');
const descriptor = { digest: sha256Digest(blob), size: blob.length };
const open = (host: string) => hastyRegistry(host, { credentials: someone, attemptsMax: 2 });

test('rules: cookies are not kept', async () => {
  await using double = await startDouble((_, response) => {
    response.writeHead(404, { 'set-cookie': 'sid=1; Path=/' }).end();
  });
  await using registry = open(double.host);
  for (let count = 0; count < 2; count++) await hasBlob(registry, { repository: 'a', ...descriptor });
  assert.deepEqual(
    double.asked.map(({ headers }) => headers.cookie),
    [undefined, undefined],
  );
});

test('rules: a blob that no token lets us mount is pushed', async () => {
  const token = (asked: Asked, response: ServerResponse) => {
    const scopes = new URL(asked.path, 'http://x').searchParams.getAll('scope').join(' ');
    if (scopes.includes('repository:other')) response.writeHead(403).end();
    else response.end('{"token":"t"}');
  };
  await using double = await startDouble((asked, response) => {
    if (asked.path.startsWith('/token')) return token(asked, response);
    if (asked.headers.authorization !== 'Bearer t') {
      const challenge = `Bearer realm="http://${asked.headers.host}/token",service="s"`;
      return void response.writeHead(401, { 'www-authenticate': challenge }).end();
    }
    response.writeHead(asked.method === 'POST' ? 202 : 201, { location: '/upload' }).end();
  });
  await using registry = open(double.host);
  await uploadBlob(registry, { repository: 'a', descriptor, open: () => blob, mountFrom: ['other'] });
  const put = double.asked.at(-1);
  assert.deepEqual([put?.method, put?.body], ['PUT', 'hello']);
});

test('rules: tags go on behind the last one where a full page has no link, and end where nothing is new', async () => {
  const all = Array.from({ length: 2500 }, (_, at) => `t${String(at).padStart(4, '0')}`);
  for (const knowsPages of [true, false]) {
    await using double = await startDouble((asked, response) => {
      const query = new URL(asked.path, 'http://x').searchParams;
      const from = all.indexOf(query.get('last') ?? '') + 1;
      const tags = knowsPages ? all.slice(from, from + Number(query.get('n'))) : all;
      response.end(JSON.stringify({ name: 'a', tags }));
    });
    await using registry = open(double.host);
    assert.deepEqual(await listTags(registry, 'a'), all);
    assert.equal(double.asked.length, knowsPages ? 3 : 2);
  }
});

test('rules: a page of HTML, or a redirect to one, is no list of referrers', async () => {
  await using double = await startDouble((asked, response) => {
    if (asked.path.includes('/referrers/')) response.writeHead(302, { location: '/login' }).end();
    else response.writeHead(200, { 'content-type': 'text/html' }).end('<html>');
  });
  await using registry = open(double.host);
  assert.equal(await hasReferrersApi(registry, 'a', descriptor.digest), false);
  assert.equal(double.asked.length, 1);
});
