import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { credentialsFromFiles } from '../../../src/registry/credentials.ts';
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
  return { paths, find: credentialsFromFiles(env) };
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

test('credentials: helpers and tokens that cannot be used yet are said', async () => {
  using dir = temporaryDir();
  const { find } = setUp(dir.path, {
    docker: { auths: { 'h.x': {} }, credsStore: 'pass' },
    config: { auths: { 'h.x': { identitytoken: 'SECRET' } } },
  });
  const { passedOver } = await find({ host: 'h.x', repository: 'a' });
  assert.match(String(passedOver), /helper docker-credential-pass/);
  assert.doesNotMatch(String(passedOver), /SECRET/);
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
