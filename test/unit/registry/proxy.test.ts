// Which proxy a request goes through, and that it gets there.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { proxyFor } from '../../../src/registry/proxy.ts';

const P = 'http://proxy.x:3128';
for (const [url, env, want] of [
  ['https://h.x/', {}, undefined],
  ['https://h.x/', { HTTPS_PROXY: P }, P],
  ['https://h.x/', { https_proxy: P, HTTPS_PROXY: 'http://other' }, P],
  ['http://h.x/', { HTTPS_PROXY: P }, undefined],
  ['http://h.x/', { HTTP_PROXY: 'proxy.x:3128' }, P],
  ['http://h.x/', { ALL_PROXY: P }, P],
  ['http://127.0.0.1:5000/', { HTTP_PROXY: P }, undefined],
  ['http://localhost:5000/', { HTTP_PROXY: P }, undefined],
  ['https://h.x/', { HTTPS_PROXY: P, NO_PROXY: '*' }, undefined],
  ['https://h.x/', { HTTPS_PROXY: P, NO_PROXY: 'a.x, h.x' }, undefined],
  ['https://a.h.x/', { HTTPS_PROXY: P, NO_PROXY: '.h.x' }, undefined],
  ['https://ah.x/', { HTTPS_PROXY: P, NO_PROXY: 'h.x' }, P],
  ['https://h.x:5000/', { HTTPS_PROXY: P, NO_PROXY: 'h.x:443' }, P],
  ['https://h.x/', { HTTPS_PROXY: P, NO_PROXY: 'h.x:443' }, undefined],
  ['https://10.1.2.3/', { HTTPS_PROXY: P, NO_PROXY: '10.0.0.0/8' }, undefined],
  ['https://11.1.2.3/', { HTTPS_PROXY: P, NO_PROXY: '10.0.0.0/8' }, P],
  ['https://[fd00::1]/', { HTTPS_PROXY: P, NO_PROXY: 'fd00::/8' }, undefined],
] as const) {
  test(`proxy: ${url} with ${JSON.stringify(env)}`, () => {
    assert.equal(proxyFor(new URL(url), env)?.origin, want);
  });
}

test('proxy: one that is no address is refused, without showing it', () => {
  assert.throws(
    () => proxyFor(new URL('https://h.x/'), { HTTPS_PROXY: 'socks5://u:SECRET@p' }),
    (error: Error) => {
      assert.match(error.message, /\$HTTPS_PROXY is no address/);
      assert.doesNotMatch(error.message, /SECRET/);
      return true;
    },
  );
});
