// Programs that keep passwords: asked as docker asks them, and never waited for without end.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { test } from 'node:test';
import { HELPER_OUTPUT_SIZE_MAX } from '../../../src/base/limits.ts';
import { askHelper, eraseInHelper, storeInHelper } from '../../../src/registry/credential-helper.ts';
import { credentialHelper, writeProgram } from '../../support/credential-helper.ts';
import { temporaryDir } from '../../support/temporary.ts';

test('helper: gets what was stored, until it is erased', async () => {
  using dir = temporaryDir();
  const double = credentialHelper(dir.path);
  const env = { PATH: double.path };
  const helper = { name: 'test', server: 'h.x:5000' };
  assert.equal(await askHelper(helper, { env }), undefined);
  await storeInHelper(helper, { user: 'u', password: 'p:"w' }, { env });
  const found = await askHelper(helper, { env });
  assert.deepEqual(found, { user: 'u', password: 'p:"w', source: 'docker-credential-test' });
  assert.equal(await eraseInHelper(helper, { env }), true);
  assert.equal(await eraseInHelper(helper, { env }), false);
  assert.deepEqual(double.kept(), {});
  // What is secret is on no command line.
  assert.deepEqual(
    double.calls().map(({ words }) => words),
    [['get'], ['store'], ['get'], ['get'], ['erase'], ['get']],
  );
});

test('helper: the user <token> has an identity token', async () => {
  using dir = temporaryDir();
  const double = credentialHelper(dir.path, { 'h.x': { Username: '<token>', Secret: 't' } });
  const found = await askHelper({ name: 'test', server: 'h.x' }, { env: { PATH: double.path } });
  assert.equal(found?.kind, 'identity-token');
  assert.equal(found?.password, 't');
});

const failures: readonly (readonly [what: string, program: string, message: RegExp])[] = [
  ['says why it fails', '#!/bin/sh\necho "the vault is sealed"\nexit 3', /exited with 3: the vault is sealed/],
  ['prints no JSON', '#!/bin/sh\necho SECRET', /gave no user name and secret/],
  ['prints JSON of something else', '#!/bin/sh\necho \'["SECRET"]\'', /gave no user name and secret/],
  ['never ends', '#!/bin/sh\nsleep 100', /did not end within 0.5 s/],
  [
    'never stops printing',
    '#!/bin/sh\nexec yes SECRET',
    new RegExp(`printed more than ${HELPER_OUTPUT_SIZE_MAX} bytes`),
  ],
  ['cannot be run', '#!/no/such/shell', /is not on PATH/],
];
for (const [what, text, message] of failures) {
  test(`helper: one that ${what}`, async () => {
    using dir = temporaryDir();
    writeProgram(dir.path, 'bad', text);
    const options = {
      env: { PATH: `${dir.path}${delimiter}${process.env.PATH}` },
      timeoutMs: what === 'never ends' ? 500 : 60_000,
    };
    const error: Error = await askHelper({ name: 'bad', server: 'h.x' }, options).then(
      () => assert.fail('answered'),
      (e) => e,
    );
    assert.equal((error as NodeJS.ErrnoException).code, 'CREDENTIALS_INVALID');
    assert.match(error.message, message);
    assert.doesNotMatch(error.message, /SECRET/);
  });
}

test('helper: a failed store does not repeat the secret', async () => {
  using dir = temporaryDir();
  writeProgram(dir.path, 'bad', '#!/bin/sh\ncat\nexit 1');
  const env = { PATH: `${dir.path}${delimiter}${process.env.PATH}` };
  const stored = storeInHelper({ name: 'bad', server: 'h.x' }, { user: 'u', password: 'p4ssw0rd' }, { env });
  await assert.rejects(
    stored,
    (error: Error) => /could not store/.test(error.message) && !/p4ssw0rd/.test(error.message),
  );
});

test('helper: a name is no path', async () => {
  using dir = temporaryDir();
  mkdirSync(join(dir.path, 'docker-credential-x'));
  writeProgram(dir.path, 'y', '#!/bin/sh\necho run');
  for (const name of ['x/../docker-credential-y', '', 'a b']) {
    await assert.rejects(askHelper({ name, server: 'h.x' }, { env: { PATH: dir.path } }), {
      message: /names no helper/,
    });
  }
});
