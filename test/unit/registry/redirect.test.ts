import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isLoopback, resolveTarget } from '../../../src/registry/redirect.ts';

const targets: readonly (readonly [base: string, location: string, want: string])[] = [
  ['https://r.x/v2/', '/a?b=c', 'https://r.x/a?b=c'],
  ['https://r.x/v2/a/', 'b', 'https://r.x/v2/a/b'],
  ['https://r.x/', 'https://s.x/y?sig=1', 'https://s.x/y?sig=1'],
  ['https://r.x/', 'http://r.x/y', 'https://r.x/y'],
  ['https://r.x:5000/', 'http://r.x:5000/y', 'https://r.x:5000/y'],
  ['http://127.0.0.1:5000/', 'http://127.0.0.1:6000/y', 'http://127.0.0.1:6000/y'],
  ['https://10.0.0.1/', 'https://10.0.0.2/y', 'https://10.0.0.2/y'],
  ['https://r.x/', 'https://u:p@s.x/y#z', 'https://s.x/y'],
];
for (const [base, location, want] of targets) {
  test(`redirect: ${base} to ${location}`, () => {
    assert.equal(resolveTarget(new URL(base), location, 'a redirect').href, want);
  });
}

const refused: readonly (readonly [base: string, location: string, message: RegExp])[] = [
  ['https://r.x/', 'http://s.x/y?sig=SECRET', /gives up encryption/],
  ['https://r.x/', 'http://r.x:81/y', /gives up encryption/],
  ['https://r.x/', 'https://127.0.0.1/y', /inside this network/],
  ['https://r.x/', 'https://localhost/y', /inside this network/],
  ['https://r.x/', 'https://169.254.169.254/latest', /inside this network/],
  ['https://r.x/', 'https://[::1]/', /inside this network/],
  ['https://r.x/', 'https://[::ffff:127.0.0.1]/', /inside this network/],
  ['https://r.x/', 'https://[fe80::1]/', /inside this network/],
  ['https://r.x/', 'https://192.168.0.1/', /inside this network/],
  ['https://r.x/', 'https://2130706433/', /inside this network/],
  ['https://r.x/', 'file:///etc/passwd', /not http/],
  ['https://r.x/', 'http://[', /no address/],
];
for (const [base, location, message] of refused) {
  test(`redirect: ${base} never to ${location}`, () => {
    assert.throws(
      () => resolveTarget(new URL(base), location, 'a redirect'),
      (error: Error) => {
        assert.equal((error as NodeJS.ErrnoException).code, 'REGISTRY_PROTOCOL');
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /SECRET/);
        return true;
      },
    );
  });
}

test('redirect: what counts as loopback', () => {
  for (const host of ['localhost', '127.0.0.1', '127.1.2.3', '[::1]', 'LOCALHOST', 'a.localhost'])
    assert.ok(isLoopback(host), host);
  for (const host of ['localhost.x', '128.0.0.1', '127.0.0.1.x', '10.0.0.1', '[::2]'])
    assert.ok(!isLoopback(host), host);
});
