import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatPlace, isOnePlace, locate } from '../../../src/transport/locate.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;
const debian = { host: 'docker.io', repository: 'library/debian', tag: 'latest' };

const accepts: readonly (readonly [text: string, want: object, formatted?: string])[] = [
  ['debian', { transport: 'docker', reference: debian }, 'docker://docker.io/library/debian:latest'],
  ['docker://debian', { transport: 'docker', reference: debian }, 'docker://docker.io/library/debian:latest'],
  ['oci:1', { transport: 'oci', directory: '1' }],
  [
    'h:5000/a:1',
    { transport: 'docker', reference: { host: 'h:5000', repository: 'a', tag: '1' } },
    'docker://h:5000/a:1',
  ],
  [
    `docker://h.x/a@${DIGEST}`,
    { transport: 'docker', reference: { host: 'h.x', repository: 'a', digest: DIGEST } },
    `docker://h.x/a@${DIGEST}`,
  ],
  ['oci:/a/b', { transport: 'oci', directory: '/a/b' }],
  ['oci:./a b:v1', { transport: 'oci', directory: './a b', tag: 'v1' }],
  ['oci:a:h.x/b:1', { transport: 'oci', directory: 'a', tag: 'h.x/b:1' }],
  ['oci-archive:a.tar', { transport: 'oci-archive', file: 'a.tar' }],
  ['oci-archive:a.tar:v1', { transport: 'oci-archive', file: 'a.tar', tag: 'v1' }],
  ['docker-archive:a.tar', { transport: 'docker-archive', file: 'a.tar' }],
  [
    'docker-archive:a.tar:debian',
    { transport: 'docker-archive', file: 'a.tar', reference: debian },
    'docker-archive:a.tar:docker.io/library/debian:latest',
  ],
  ['dir:/srv/root:x', { transport: 'dir', root: '/srv/root:x' }],
  ['./image.boot', { transport: 'file', file: './image.boot' }],
  ['../a', { transport: 'file', file: '../a' }],
  ['/a:b', { transport: 'file', file: '/a:b' }],
];
for (const [text, want, formatted] of accepts) {
  test(`locate: ${text.slice(0, 30)}`, () => {
    assert.deepEqual(locate(text), want);
    assert.equal(formatPlace(locate(text)), formatted ?? text);
    assert.deepEqual(locate(formatPlace(locate(text))), want);
  });
}

for (const text of [
  '',
  'oci:',
  'oci::tag',
  'oci:dir:',
  'oci:dir:-x',
  `oci:dir:${'x'.repeat(300)}`,
  'oci:a\0b',
  'docker-archive:a.tar:UPPER',
  'docker:///',
  'docker://docker://a',
  'https://h.x/a',
  'dir:',
]) {
  test(`locate: refuses ${JSON.stringify(text.slice(0, 30))}`, () => {
    assert.throws(() => locate(text), { code: 'REFERENCE_INVALID' });
  });
}

const pairs: readonly (readonly [a: string, b: string, one: boolean])[] = [
  ['debian', 'docker://docker.io/library/debian:latest', true],
  ['h.x/a:1', 'h.x/a:2', false],
  ['oci:a:1', 'oci:./b/../a/:1', true],
  ['oci:a:1', 'oci:a:2', false],
  ['oci:a', 'oci:a:1', false],
  ['oci-archive:a.tar:1', 'oci-archive:./a.tar:2', true],
  ['oci-archive:a.tar', 'oci-archive:b.tar', false],
  ['oci-archive:a.tar', 'docker-archive:a.tar', false],
];
for (const [a, b, one] of pairs) {
  test(`locate: ${a} and ${b} are ${one ? 'one place' : 'two'}`, () => {
    assert.equal(isOnePlace(a, b), one);
    assert.equal(isOnePlace(b, a), one);
  });
}
