// hosts.toml as containerd writes it, and what is wrong with one, by line.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseHosts, readHosts } from '../../../src/registry/hosts-file.ts';
import { temporaryDir } from '../../support/temporary.ts';

const FULL = `
server = "https://registry.example"
ca = "ca.pem"

[host."https://mirror.example/proxy"]
  capabilities = ["pull", "resolve"]
  skip_verify = true
  client = [["client.pem", "client.key"], "both.pem"]
  dial_timeout = "3s"
  [host."https://mirror.example/proxy".header]
    X-Team = ["a", "b"]

[host."http://127.0.0.1:5000/custom/path"]
  override_path = true
`;

test('hosts.toml: mirrors in order, the server last, files beside it', () => {
  const hosts = parseHosts(FULL, '/etc/c/h/hosts.toml');
  assert.deepEqual(
    hosts.map(({ url }) => url?.href),
    ['https://mirror.example/proxy/v2', 'http://127.0.0.1:5000/custom/path', 'https://registry.example/v2'],
  );
  assert.deepEqual(hosts[0], {
    url: new URL('https://mirror.example/proxy/v2'),
    capabilities: ['pull', 'resolve'],
    ca: [],
    client: [
      { cert: '/etc/c/h/client.pem', key: '/etc/c/h/client.key' },
      { cert: '/etc/c/h/both.pem', key: '/etc/c/h/both.pem' },
    ],
    skipVerify: true,
    headers: { 'x-team': 'a, b' },
    dialTimeoutMs: 3000,
  });
  assert.deepEqual(hosts[2]?.ca, ['/etc/c/h/ca.pem']);
  assert.deepEqual(hosts[1]?.capabilities, ['pull', 'resolve', 'push', 'referrers']);
});

test('hosts.toml: without a server the registry itself comes last; an address without a scheme is https', () => {
  const hosts = parseHosts('[host."mirror.example:5000"]', '/h.toml');
  assert.deepEqual(
    hosts.map(({ url }) => url?.href),
    ['https://mirror.example:5000/v2', undefined],
  );
});

const wrong: readonly (readonly [what: string, text: string, message: RegExp])[] = [
  ['no TOML', 'server = "a"\n[host."x"\n', /^\/h\.toml:2: /],
  ['a capability nobody has', '[host."https://a"]\n\ncapabilities = ["pul"]', /^\/h\.toml:3: "pul" is none of pull,/],
  ['a flag that is text', '[host."https://a"]\nskip_verify = "yes"', /^\/h\.toml:2: "skip_verify" is neither/],
  ['an address that is none', '\n[host."ftp://a"]', /^\/h\.toml:2: "ftp:\/\/a" is no address/],
  [
    'an address with a password',
    '[host."https://u:pw@a.x"]',
    /^\/h\.toml:1: the address of a\.x holds a user name or password/,
  ],
  ['a server that is a number', '\n\nserver = 5000', /^\/h\.toml:3: "server" is no text/],
  ['a certificate that is a number', 'ca = 5', /^\/h\.toml:1: "ca" is neither/],
  ['a triple', '[host."https://a"]\nclient = [["a","b","c"]]', /^\/h\.toml:2: "client" is no file/],
  [
    'a duration without a unit',
    '[host."https://a"]\ndial_timeout = "3"',
    /^\/h\.toml:2: "dial_timeout" is no duration/,
  ],
  ['a header that cannot be sent', 'header = { "X-A" = "a\\nb" }', /^\/h\.toml:1: header X-A cannot be sent/],
  ['a host that is no table', 'host = "https://a"', /^\/h\.toml:1: "host" is no table/],
];
for (const [what, text, message] of wrong) {
  test(`hosts.toml: refuses ${what}, with its line`, () => {
    assert.throws(() => parseHosts(text, '/h.toml'), { code: 'CONFIG_INVALID', message });
  });
}

test('certs.d: a port with a colon or without, then what counts for all', async () => {
  using dir = temporaryDir();
  const add = (name: string, server: string) => {
    mkdirSync(join(dir.path, name));
    writeFileSync(join(dir.path, name, 'hosts.toml'), `server = "https://${server}"`);
  };
  const found = async (host: string) => (await readHosts(host, { certsDir: dir.path }))?.[0]?.url?.host;
  assert.equal(await found('h.x:5000'), undefined);
  add('_default', 'default');
  add('h.x:5000', 'colon');
  assert.equal(await found('h.x:5000'), 'colon');
  add('h.x_5000_', 'underscore');
  assert.equal(await found('h.x:5000'), 'underscore');
  assert.equal(await found('h.x'), 'default');
});

test('certs.d: without hosts.toml its certificates count', async () => {
  using dir = temporaryDir();
  const place = join(dir.path, 'h.x');
  mkdirSync(place);
  assert.equal(await readHosts('h.x', { env: { NAIAD_CERTS_DIR: dir.path } }), undefined);
  for (const name of ['a.crt', 'b.crt', 'me.cert', 'me.key']) writeFileSync(join(place, name), '');
  const [config] = (await readHosts('h.x', { env: { NAIAD_CERTS_DIR: dir.path } })) ?? [];
  assert.deepEqual(config?.ca, [join(place, 'a.crt'), join(place, 'b.crt')]);
  assert.deepEqual(config?.client, [{ cert: join(place, 'me.cert'), key: join(place, 'me.key') }]);
  writeFileSync(join(place, 'other.cert'), '');
  await assert.rejects(readHosts('h.x', { certsDir: dir.path }), {
    code: 'CONFIG_INVALID',
    message: /other\.key is missing/,
  });
});
