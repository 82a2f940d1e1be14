import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type CredentialOptions, findCredentialsIn } from '../../../src/registry/credentials.ts';
import { credentialHelper } from '../../support/credential-helper.ts';
import { temporaryDir } from '../../support/temporary.ts';

const auth = (text: string) => ({ auth: Buffer.from(text).toString('base64') });

/** A home with these credential files; names: env, docker, runtime, config. */
function setUp(root: string, files: Record<string, unknown>) {
  const paths: Record<string, string> = {
    env: join(root, 'env.json'),
    docker: join(root, 'home', '.docker', 'config.json'),
    runtime: join(root, 'run', 'containers', 'auth.json'),
    config: join(root, 'home', '.config', 'containers', 'auth.json'),
  };
  for (const [name, content] of Object.entries(files)) {
    const path = String(paths[name]);
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  }
  const env = {
    HOME: join(root, 'home'),
    XDG_RUNTIME_DIR: join(root, 'run'),
    REGISTRY_AUTH_FILE: files.env ? paths.env : undefined,
  };
  return { paths, env, find: findCredentialsIn({ env }) };
}

const cases: readonly (readonly [
  name: string,
  files: Record<string, unknown>,
  host: string,
  repository: string,
  want: string | undefined,
])[] = [
  ['nothing anywhere', {}, 'h.x', 'a', undefined],
  ['a host', { docker: { auths: { 'h.x': auth('u:p') } } }, 'h.x', 'a', 'u:p'],
  ['a host with its port only', { docker: { auths: { 'h.x': auth('u:p') } } }, 'h.x:5000', 'a', undefined],
  ['a password with colons and NULs behind', { docker: { auths: { 'h.x': auth('u:p:q\0\0') } } }, 'h.x', 'a', 'u:p:q'],
  ['a URL as key', { docker: { auths: { 'https://h.x/v2/': auth('u:p') } } }, 'h.x', 'a', 'u:p'],
  [
    'Docker Hub',
    { docker: { auths: { 'https://index.docker.io/v1/': auth('u:p') } } },
    'docker.io',
    'library/a',
    'u:p',
  ],
  [
    'the longest prefix',
    { config: { auths: { 'h.x': auth('u:1'), 'h.x/a/b': auth('u:3'), 'h.x/a': auth('u:2') } } },
    'h.x',
    'a/b/c',
    'u:3',
  ],
  ['no prefix within a name', { config: { auths: { 'h.x/ab': auth('u:1') } } }, 'h.x', 'abc', undefined],
  [
    'user name and password apart',
    { docker: { auths: { 'h.x': { username: 'u', password: 'p' } } } },
    'h.x',
    'a',
    'u:p',
  ],
  [
    'REGISTRY_AUTH_FILE before docker',
    { env: { auths: { 'h.x': auth('u:e') } }, docker: { auths: { 'h.x': auth('u:d') } } },
    'h.x',
    'a',
    'u:e',
  ],
  [
    'docker before podman',
    { runtime: { auths: { 'h.x': auth('u:r') } }, docker: { auths: { 'h.x': auth('u:d') } } },
    'h.x',
    'a',
    'u:d',
  ],
  [
    'podman where docker has none',
    { runtime: { auths: { 'h.x': auth('u:r') } }, docker: { auths: {} } },
    'h.x',
    'a',
    'u:r',
  ],
  ['an empty file', { docker: '', config: { auths: { 'h.x': auth('u:c') } } }, 'h.x', 'a', 'u:c'],
];

for (const [name, files, host, repository, want] of cases) {
  test(`credentials: ${name}`, async () => {
    using dir = temporaryDir();
    const { find } = setUp(dir.path, files);
    const { credentials } = await find({ host, repository });
    assert.equal(credentials && `${credentials.user}:${credentials.password}`, want);
  });
}

test('credentials: the file that won, and those that were searched in vain, are named', async () => {
  using dir = temporaryDir();
  const { find, paths } = setUp(dir.path, { docker: { auths: {} }, config: { auths: { 'h.x': auth('u:p') } } });
  assert.equal((await find({ host: 'h.x', repository: 'a' })).credentials?.source, paths.config);
  assert.deepEqual((await find({ host: 'i.x', repository: 'a' })).looked, [paths.docker, paths.config]);
});

const broken: readonly (readonly [name: string, content: unknown, message: RegExp])[] = [
  ['no JSON', '{"auths": {"h.x": {"auth": "SECRET"', /config\.json: not JSON/],
  ['no base64 of a pair', { auths: { 'h.x': { auth: 'U0VDUkVU' } } }, /not base64 of user:password/],
  ['no user', { auths: { 'h.x': auth(':SECRET') } }, /not base64 of user:password/],
];
for (const [name, content, message] of broken) {
  test(`credentials: refuses ${name}, without showing it`, async () => {
    using dir = temporaryDir();
    const { find } = setUp(dir.path, { docker: content });
    const error: Error = await find({ host: 'h.x', repository: 'a' }).then(
      () => assert.fail('found'),
      (e) => e,
    );
    assert.equal((error as NodeJS.ErrnoException).code, 'CREDENTIALS_INVALID');
    assert.match(error.message, message);
    assert.doesNotMatch(`${error.message} ${error.cause}`, /SECRET/);
  });
}

const tokens: readonly (readonly [name: string, entry: object, kind: string, password: string])[] = [
  ['an identity token', { identitytoken: 't' }, 'identity-token', 't'],
  ['an identity token beside a user', { ...auth('u:'), identitytoken: 't' }, 'identity-token', 't'],
  ['a bearer token', { registrytoken: 'b' }, 'bearer-token', 'b'],
];
for (const [name, entry, kind, password] of tokens) {
  test(`credentials: ${name}`, async () => {
    using dir = temporaryDir();
    const { find } = setUp(dir.path, { docker: { auths: { 'h.x': entry } } });
    const { credentials } = await find({ host: 'h.x', repository: 'a' });
    assert.deepEqual({ kind: credentials?.kind, password: credentials?.password }, { kind, password });
  });
}

const HELPED = { Username: 'u', Secret: 'helped' };
const helped: readonly (readonly [name: string, docker: object, host: string, server: string | undefined])[] = [
  ['of one host', { credHelpers: { 'h.x': 'test' } }, 'h.x', 'h.x'],
  ['of another host', { credHelpers: { 'i.x': 'test' } }, 'h.x', undefined],
  ['for all', { credsStore: 'test', auths: { 'h.x': {} } }, 'h.x', 'h.x'],
  ['for Docker Hub', { credsStore: 'test' }, 'docker.io', 'https://index.docker.io/v1/'],
  ['for Docker Hub as podman names it', { credHelpers: { 'docker.io': 'test' } }, 'docker.io', 'docker.io'],
  ['before what the file holds', { credsStore: 'test', auths: { 'h.x': auth('u:f') } }, 'h.x', 'h.x'],
];
for (const [name, docker, host, server] of helped) {
  test(`credentials: a helper ${name}`, async () => {
    using dir = temporaryDir();
    const { env } = setUp(dir.path, { docker });
    const double = credentialHelper(dir.path, server === undefined ? {} : { [server]: HELPED });
    const find = findCredentialsIn({ env: { ...env, PATH: double.path } });
    const { credentials } = await find({ host, repository: 'a' });
    assert.equal(credentials?.password, server === undefined ? undefined : 'helped');
    assert.equal(double.calls().length, server === undefined ? 0 : 1);
  });
}

test('credentials: where a helper has none, the file counts, and the next file', async () => {
  using dir = temporaryDir();
  const { env } = setUp(dir.path, {
    docker: { credsStore: 'test', auths: { 'h.x': auth('u:file') } },
    config: { auths: { 'i.x': auth('u:next') } },
  });
  const find = findCredentialsIn({ env: { ...env, PATH: credentialHelper(dir.path).path } });
  assert.equal((await find({ host: 'h.x', repository: 'a' })).credentials?.password, 'file');
  assert.equal((await find({ host: 'i.x', repository: 'a' })).credentials?.password, 'next');
});

test('credentials: a helper that is missing is said, and does not stop the search', async () => {
  using dir = temporaryDir();
  const { find } = setUp(dir.path, {
    docker: { credsStore: 'no-such-helper' },
    config: { auths: { 'h.x': auth('u:p') } },
  });
  assert.equal((await find({ host: 'h.x', repository: 'a' })).credentials?.password, 'p');
  const none = await find({ host: 'i.x', repository: 'a' });
  assert.match(String(none.passedOver), /docker-credential-no-such-helper .* is not on PATH/);
});

test('credentials: DOCKER_AUTH_CONFIG is asked first, a named file alone', async () => {
  using dir = temporaryDir();
  const { env, paths } = setUp(dir.path, {
    docker: { auths: { 'h.x': auth('u:docker') } },
    config: { auths: { 'h.x': auth('u:named') } },
  });
  const inline = { ...env, DOCKER_AUTH_CONFIG: JSON.stringify({ auths: { 'h.x': auth('u:inline') } }) };
  const ask = async (options: CredentialOptions) =>
    (await findCredentialsIn(options)({ host: 'h.x', repository: 'a' })).credentials?.password;
  assert.equal(await ask({ env: inline }), 'inline');
  assert.equal(await ask({ env: inline, authFile: paths.config }), 'named');
  await assert.rejects(ask({ env: { ...env, DOCKER_AUTH_CONFIG: '{"SECRET' } }), {
    message: '$DOCKER_AUTH_CONFIG: not JSON',
  });
});
