// How tokens are asked for, by what we have and what the token service knows.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Credentials } from '../../../src/registry/credential.ts';
import { getManifest } from '../../../src/registry/manifests.ts';
import { Registry } from '../../../src/registry/transport.ts';
import { type Asked, startDouble } from '../../support/http-double.ts';

const INDEX = JSON.stringify({ schemaVersion: 2, manifests: [] });
const INDEX_TYPE = 'application/vnd.oci.image.index.v1+json';
const password: Credentials = { user: 'u', password: 'p4ssw0rd', source: '/f' };
const identity: Credentials = { kind: 'identity-token', user: '', password: 'r3fresh', source: '/f' };
const ready: Credentials = { kind: 'bearer-token', user: '', password: 'r3ady', source: '/f' };
const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;

/** A registry whose token service answers by `statuses` of its flows, and that takes the token `good`. */
async function startService(statuses: { readonly GET: number; readonly POST: number }, good = 'g00d') {
  const tokens: Asked[] = [];
  const double = await startDouble((asked, response) => {
    if (asked.path.startsWith('/token')) {
      tokens.push(asked);
      const status = statuses[asked.method as 'GET' | 'POST'];
      const headers = { location: 'http://127.0.0.2:9/', 'content-type': 'application/json' };
      response.writeHead(status, headers).end(status === 200 ? JSON.stringify({ access_token: good }) : '');
    } else if (asked.headers.authorization === `Bearer ${good}`) {
      response.writeHead(200, { 'content-type': INDEX_TYPE }).end(INDEX);
    } else {
      const realm = `http://${double.host}/token`;
      const scope = 'repository:a/b:pull';
      response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}",service="s",scope="${scope}"` }).end();
    }
  });
  return { ...double, tokens };
}

async function pull(host: string, credentials: Credentials | undefined): Promise<void> {
  const source = async () => ({ credentials, looked: ['/f'] });
  await using registry = new Registry(host, { credentials: source, retryDelayMs: 1, attemptsMax: 2 });
  await getManifest(registry, { repository: 'a/b', selector: 'v1' });
}

const shown = ({ method, path, headers, body }: Asked) => {
  const query = new URL(path, 'http://x').search;
  return [method, query || body, ...(headers.authorization ? [headers.authorization] : [])];
};
const QUERY = '?service=s&scope=repository%3Aa%2Fb%3Apull';
const FORM = 'client_id=naiad&service=s&scope=repository%3Aa%2Fb%3Apull';

const flows: readonly (readonly [
  name: string,
  credentials: Credentials | undefined,
  statuses: { readonly GET: number; readonly POST: number },
  asked: readonly (readonly string[])[],
])[] = [
  ['nobody by GET', undefined, { GET: 200, POST: 500 }, [['GET', QUERY]]],
  ['a password by GET', password, { GET: 200, POST: 500 }, [['GET', `${QUERY}&account=u`, basic('u:p4ssw0rd')]]],
  [
    'a password by POST where there is no GET',
    password,
    { GET: 405, POST: 200 },
    [
      ['GET', `${QUERY}&account=u`, basic('u:p4ssw0rd')],
      ['POST', `${FORM}&grant_type=password&username=u&password=p4ssw0rd`],
    ],
  ],
  [
    'an identity token by POST',
    identity,
    { GET: 500, POST: 200 },
    [['POST', `${FORM}&grant_type=refresh_token&refresh_token=r3fresh`]],
  ],
  [
    'an identity token as password where there is no POST',
    identity,
    { GET: 200, POST: 404 },
    [
      ['POST', `${FORM}&grant_type=refresh_token&refresh_token=r3fresh`],
      ['GET', QUERY, basic(':r3fresh')],
    ],
  ],
];
for (const [name, credentials, statuses, asked] of flows) {
  test(`token flow: ${name}`, async () => {
    await using service = await startService(statuses);
    await pull(service.host, credentials);
    assert.deepEqual(service.tokens.map(shown), asked);
  });
}

test('token flow: a bearer token is sent as it is', async () => {
  await using service = await startService({ GET: 500, POST: 500 }, 'r3ady');
  await pull(service.host, ready);
  assert.deepEqual(service.tokens, []);
});

const refused: readonly (readonly [
  name: string,
  credentials: Credentials | undefined,
  statuses: { readonly GET: number; readonly POST: number },
  message: RegExp,
])[] = [
  ['a wrong password', password, { GET: 401, POST: 200 }, /refused credentials of "u" from \/f \(status 401\)/],
  ['a stale identity token', identity, { GET: 401, POST: 401 }, /refused the identity token from \/f \(status 401\)/],
  ['nobody', undefined, { GET: 403, POST: 200 }, /gives no token without credentials/],
];
for (const [name, credentials, statuses, message] of refused) {
  test(`token flow: ${name} is said, not tried again`, async () => {
    await using service = await startService(statuses);
    await assert.rejects(pull(service.host, credentials), (error: Error & { code?: string; hint?: string }) => {
      assert.equal(error.code, 'ACCESS_DENIED');
      assert.match(error.message, message);
      assert.match(String(error.hint), /naiad login/);
      assert.doesNotMatch(`${error.message} ${error.cause} ${error.stack}`, /p4ssw0rd|r3fresh/);
      return true;
    });
    assert.ok(service.tokens.length <= 2);
  });
}

test('token flow: what a form holds follows no redirect', async () => {
  await using service = await startService({ GET: 404, POST: 307 });
  await assert.rejects(pull(service.host, identity), { code: 'REGISTRY_UNAVAILABLE', message: /answered 307/ });
});

test('token flow: a refused bearer token is an error, not a loop', async () => {
  await using service = await startService({ GET: 500, POST: 500 });
  await assert.rejects(pull(service.host, ready), {
    code: 'ACCESS_DENIED',
    message: /sent: the bearer token from \/f/,
  });
  assert.ok(service.asked.length <= 4);
});

test('token flow: a scope the registry demands later is asked for from then on', async () => {
  const scopes: string[][] = [];
  let issued = 0;
  const double = await startDouble((asked, response) => {
    const query = new URL(asked.path, 'http://x').searchParams;
    if (asked.path.startsWith('/token')) {
      scopes.push(query.getAll('scope'));
      response.end(JSON.stringify({ token: `t${++issued}`, expires_in: 300 }));
      return;
    }
    const scope = issued === 0 ? 'repository:a/b:pull' : 'repository:c:pull repository:a/b:pull';
    const challenge = `Bearer realm="http://${double.host}/token",scope="${scope}",error="insufficient_scope"`;
    if (asked.headers.authorization === 'Bearer t2') {
      response.writeHead(200, { 'content-type': INDEX_TYPE }).end(INDEX);
    } else response.writeHead(401, { 'www-authenticate': challenge }).end();
  });
  await using _ = double;
  await using registry = new Registry(double.host, {
    credentials: async () => ({ credentials: password, looked: [] }),
  });
  const name = { repository: 'a/b', selector: 'v1' };
  await getManifest(registry, name);
  await getManifest(registry, name);
  assert.deepEqual(scopes, [['repository:a/b:pull'], ['repository:c:pull', 'repository:a/b:pull']]);
});

/** A registry that calls the first `bad` tokens invalid, as one that has ended or does not begin yet. */
async function startDistrustful(bad: number) {
  let issued = 0;
  const double = await startDouble((asked, response) => {
    if (asked.path.startsWith('/token')) {
      response.end(JSON.stringify({ token: `t${++issued}`, expires_in: 300 }));
      return;
    }
    const number = Number(/^Bearer t(\d+)$/.exec(asked.headers.authorization ?? '')?.[1] ?? 0);
    const why = number === 0 ? '' : ',error="invalid_token"';
    const challenge = `Bearer realm="http://${double.host}/token",scope="repository:a/b:pull"${why}`;
    if (number > bad) response.writeHead(200, { 'content-type': INDEX_TYPE }).end(INDEX);
    else response.writeHead(401, { 'www-authenticate': challenge }).end();
  });
  return { ...double, issued: () => issued };
}

test('token flow: a new token that ended on its way is replaced once', async () => {
  await using service = await startDistrustful(1);
  await pull(service.host, password);
  assert.equal(service.issued(), 2);
});

test('token flow: a service whose new tokens are never valid is one clear error', async () => {
  await using service = await startDistrustful(Number.POSITIVE_INFINITY);
  await assert.rejects(pull(service.host, password), {
    code: 'ACCESS_DENIED',
    message: /sent: credentials of "u" from \/f; it calls a new token of its token service invalid/,
    hint: /clocks/,
  });
  assert.equal(service.issued(), 2);
});
