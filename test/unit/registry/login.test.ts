// Logging in where the registry lets in those who say nothing of themselves.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { logIn, parseLoginPlace } from '../../../src/registry/login.ts';
import { startDouble } from '../../support/http-double.ts';
import { temporaryDir } from '../../support/temporary.ts';

const RIGHT = `Basic ${Buffer.from('u:right').toString('base64')}`;

test('login: a wrong password is found out also where nobody is asked for one', async () => {
  await using double = await startDouble(({ headers }, response) => {
    const isWelcome = headers.authorization === undefined || headers.authorization === RIGHT;
    if (isWelcome) response.writeHead(200).end();
    else response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end('{"code":"NO","message":"who?"}');
  });
  using dir = temporaryDir();
  const authFile = join(dir.path, 'auth.json');
  const log = (password: string) => logIn(parseLoginPlace(double.host), { user: 'u', password }, { authFile });
  await assert.rejects(log('wrong'), {
    code: 'ACCESS_DENIED',
    message: /status 401 \(NO: who\?\)/,
    hint: 'Check the user name and the password.',
  });
  assert.equal(existsSync(authFile), false);
  assert.equal((await log('right')).verified, false);
  assert.equal(existsSync(authFile), true);
});
