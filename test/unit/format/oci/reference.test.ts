import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  apiHost,
  formatReference,
  isRepositoryName,
  manifestSelector,
  parseReference,
} from '../../../../src/format/oci/reference.ts';

const HEX = '0123456789abcdef'.repeat(4);
const DIGEST = `sha256:${HEX}`;

const accepts: readonly (readonly [text: string, want: object, formatted: string])[] = [
  ['ubuntu', { host: 'docker.io', repository: 'library/ubuntu', tag: 'latest' }, 'docker.io/library/ubuntu:latest'],
  ['ubuntu:24.04', { host: 'docker.io', repository: 'library/ubuntu', tag: '24.04' }, 'docker.io/library/ubuntu:24.04'],
  ['u/x', { host: 'docker.io', repository: 'u/x', tag: 'latest' }, 'docker.io/u/x:latest'],
  ['index.docker.io/u/x', { host: 'docker.io', repository: 'u/x', tag: 'latest' }, 'docker.io/u/x:latest'],
  [
    'registry-1.docker.io/x',
    { host: 'docker.io', repository: 'library/x', tag: 'latest' },
    'docker.io/library/x:latest',
  ],
  ['localhost/a', { host: 'localhost', repository: 'a', tag: 'latest' }, 'localhost/a:latest'],
  [
    'localhost',
    { host: 'docker.io', repository: 'library/localhost', tag: 'latest' },
    'docker.io/library/localhost:latest',
  ],
  ['host:5000/a/b:1', { host: 'host:5000', repository: 'a/b', tag: '1' }, 'host:5000/a/b:1'],
  ['Host.TLD/a:V1_x-2.y', { host: 'host.tld', repository: 'a', tag: 'V1_x-2.y' }, 'host.tld/a:V1_x-2.y'],
  ['[::1]:5000/a', { host: '[::1]:5000', repository: 'a', tag: 'latest' }, '[::1]:5000/a:latest'],
  [`a@${DIGEST}`, { host: 'docker.io', repository: 'library/a', digest: DIGEST }, `docker.io/library/a@${DIGEST}`],
  [`h.x/a:t@${DIGEST}`, { host: 'h.x', repository: 'a', tag: 't', digest: DIGEST }, `h.x/a:t@${DIGEST}`],
  ['h.x/a__b.c---d', { host: 'h.x', repository: 'a__b.c---d', tag: 'latest' }, 'h.x/a__b.c---d:latest'],
];

for (const [text, want, formatted] of accepts) {
  test(`reference: reads ${text.slice(0, 40)}`, () => {
    const reference = parseReference(text);
    assert.deepEqual(reference, want);
    assert.equal(formatReference(reference), formatted);
    assert.deepEqual(parseReference(formatted), want);
  });
}

const rejects: readonly (readonly [text: string, message: RegExp])[] = [
  ['', /empty/],
  ['a'.repeat(601), /601 characters/],
  ['http://host/a', /:\/\//],
  ['host.x/', /empty/],
  ['/a', /empty/],
  ['a//b', /empty/],
  ['Ubuntu', /must be lowercase/],
  ['a b', /no part of a repository name/],
  ['../etc/passwd', /no host name/],
  ['a/../b', /no part of a repository name/],
  ['a:', /tag ""/],
  ['a:.x', /tag ".x"/],
  [`a:${'x'.repeat(129)}`, /1 to 128/],
  ['host:0/a', /port 0/],
  ['host:65536/a', /port 65536/],
  ['host:x/a', /no host name/],
  ['-h.x/a', /no host name/],
  ['a@sha256:123', /64 lowercase hex/],
  [`a@sha256:${HEX.toUpperCase()}`, /64 lowercase hex/],
  [`a@sha512:${HEX}${HEX}`, /only sha256/],
  ['a@', /64 lowercase hex/],
  ['a\n:1', /no part of a repository name/],
  [`h.x/${'a'.repeat(255)}`, /255 characters/],
  ['user:password@host/a', /64 lowercase hex/],
];

for (const [text, message] of rejects) {
  test(`reference: refuses ${JSON.stringify(text.slice(0, 40))}`, () => {
    assert.throws(() => parseReference(text), { code: 'REFERENCE_INVALID', message });
  });
}

test('reference: the digest wins over the tag, and Docker Hub answers elsewhere', () => {
  assert.equal(manifestSelector(parseReference(`a:1@${DIGEST}`)), DIGEST);
  assert.equal(manifestSelector(parseReference('a:1')), '1');
  assert.equal(apiHost('docker.io'), 'registry-1.docker.io');
  assert.equal(apiHost('quay.io'), 'quay.io');
});

test('reference: repository names cannot leave their directory', () => {
  for (const name of ['a', 'a/b-c', 'a1/b__c/d.e']) assert.ok(isRepositoryName(name), name);
  for (const name of ['', '/', 'a/', '..', 'a/..', '.a', '_a', 'A', 'a\0', 'a\\b', 'a..b']) {
    assert.ok(!isRepositoryName(name), name);
  }
});
