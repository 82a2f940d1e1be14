import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { hasCode } from '../../../../src/base/errors.ts';
import { TRACE_TOUCHES_MAX } from '../../../../src/base/limits.ts';
import { parseTrace } from '../../../../src/format/trace/path-list.ts';
import { parsePathText, pathText } from '../../../../src/format/trace/path-text.ts';
import { formatTrace, type Trace } from '../../../../src/format/trace/trace.ts';

const CHUNK = `blake3:${'ab'.repeat(32)}`;
const IMAGE = `sha256:${'cd'.repeat(32)}`;
const touch = { path: '/bin/sh', offset: 0, size: 4096, chunk: CHUNK, atMs: 1.5, waitMs: 20.125, runs: 1 };
const TRACE: Trace = {
  image: IMAGE,
  reference: 'registry.example/app:1',
  runs: 2,
  readyMs: 812.25,
  cut: true,
  touches: [
    { ...touch, runs: 2 },
    { ...touch, path: '/bin/odd\xff\\name', offset: 4096, waitMs: 0 },
    { ...touch, path: '', atMs: 3 },
    { path: '/etc', offset: 0, size: undefined, chunk: undefined, atMs: 0, waitMs: 0, runs: 1 },
  ],
};
const TEXT = [
  `{"format":"naiad-trace","version":1,"touches":4,"image":"${IMAGE}","reference":"registry.example/app:1","runs":2,"ready":812.25,"cut":true}`,
  `{"at":1.5,"wait":20.125,"path":"/bin/sh","size":4096,"chunk":"${CHUNK}","runs":2}`,
  `{"at":1.5,"path":"/bin/odd\\\\xff\\\\x5cname","offset":4096,"size":4096,"chunk":"${CHUNK}"}`,
  `{"at":3,"wait":20.125,"size":4096,"chunk":"${CHUNK}"}`,
  `{"at":0,"path":"/etc"}`,
  '',
].join('\n');

const parseText = (text: string) => parseTrace(Buffer.from(text, 'latin1'));

test('trace: is written in one way, and read back as it was', () => {
  assert.equal(Buffer.from(formatTrace(TRACE)).toString(), TEXT);
  assert.deepEqual(parseText(TEXT), TRACE);
});

test('trace: fields of later versions and empty lines are passed over', () => {
  const later = TEXT.replace('"runs":2,"ready"', '"colour":{"deep":[1]},"runs":2,"ready"').replace(
    '{"at":0,',
    '\n\n{"colour":"red","at":0,',
  );
  assert.deepEqual(parseText(later), TRACE);
});

const header = (fields: string) => `{"format":"naiad-trace",${fields}}\n`;
const one = (fields: string) => `${header('"version":1,"touches":1,"runs":3')}{${fields}}\n`;

for (const { name, text, code, says } of [
  { name: 'another version', text: header('"version":2,"touches":0,"runs":1'), code: 'TRACE_UNSUPPORTED', says: /2/ },
  { name: 'a header without runs', text: header('"version":1,"touches":0'), code: 'TRACE_INVALID', says: /runs/ },
  { name: 'no runs', text: header('"version":1,"touches":0,"runs":0'), code: 'TRACE_INVALID', says: /runs/ },
  { name: 'a cut file', text: TEXT.slice(0, TEXT.indexOf('{"at":3')), code: 'TRACE_INVALID', says: /after 2 of 4/ },
  { name: 'a cut line', text: TEXT.slice(0, -8), code: 'TRACE_INVALID', says: /line 5.*not JSON/ },
  {
    name: 'more than announced',
    text: `${TEXT}{"at":0,"path":"/x"}\n`,
    code: 'TRACE_INVALID',
    says: /more than the 4/,
  },
  {
    name: 'too many touches',
    text: header(`"version":1,"touches":${TRACE_TOUCHES_MAX + 1},"runs":1`),
    code: 'LIMIT_EXCEEDED',
    says: /250001/,
  },
  {
    name: 'an image that is no digest',
    text: header('"version":1,"touches":0,"runs":1,"image":"x"'),
    code: 'TRACE_INVALID',
    says: /image/,
  },
  { name: 'a touch of nothing', text: one('"at":1'), code: 'TRACE_INVALID', says: /names a chunk/ },
  { name: 'a chunk without a size', text: one(`"chunk":"${CHUNK}"`), code: 'TRACE_INVALID', says: /size/ },
  { name: 'a strange digest', text: one('"chunk":"md5:00","size":1'), code: 'TRACE_INVALID', says: /chunk must be/ },
  { name: 'a relative path', text: one('"path":"bin/sh"'), code: 'TRACE_INVALID', says: /absolute/ },
  { name: 'a path with ..', text: one('"path":"/bin/../sh"'), code: 'TRACE_INVALID', says: /absolute/ },
  { name: 'a path with a NUL', text: one('"path":"/bin\\\\x00"'), code: 'TRACE_INVALID', says: /absolute/ },
  { name: 'a long path', text: one(`"path":"/${'x'.repeat(5000)}"`), code: 'TRACE_INVALID', says: /5001 bytes/ },
  { name: 'a negative time', text: one('"path":"/x","at":-1'), code: 'TRACE_INVALID', says: /at must be/ },
  { name: 'half a byte', text: one('"path":"/x","offset":0.5'), code: 'TRACE_INVALID', says: /whole/ },
  {
    name: 'an end beyond numbers',
    text: one('"path":"/x","offset":9007199254740991,"size":2'),
    code: 'TRACE_INVALID',
    says: /whole/,
  },
  { name: 'more runs than the trace has', text: one('"path":"/x","runs":4'), code: 'TRACE_INVALID', says: /runs/ },
  { name: 'random bytes', text: '\x8f\x00\x13\xfeabc', code: 'TRACE_INVALID', says: /line 1: no path/ },
  { name: 'other JSON', text: '{"mediaType":"x"}', code: 'TRACE_INVALID', says: /files/ },
  { name: 'an empty file', text: '', code: 'TRACE_INVALID', says: /no path/ },
  { name: 'a list with a bad line', text: '/bin/sh\n# fine\nbin/sh\n', code: 'TRACE_INVALID', says: /line 3/ },
  {
    name: 'a Nydus range that is none',
    text: '{"files":[{"path":"/x","ranges":[[1]]}]}',
    code: 'TRACE_INVALID',
    says: /range/,
  },
] as const) {
  test(`trace: refuses ${name}`, () => {
    assert.throws(
      () => parseText(text),
      (error) => hasCode(error, code) && says.test(error.message),
    );
  });
}

test('trace: a list of paths names whole files, in its order', () => {
  const whole = (path: string) => ({ path, offset: 0, size: undefined, atMs: 0, waitMs: 0, runs: 1 });
  assert.deepEqual(parseText('# start\r\n/usr/bin/python3\n\n./etc/\n/\n/a b//c\n').touches, [
    whole('/usr/bin/python3'),
    whole('/etc'),
    whole('/'),
    whole('/a b/c'),
  ]);
});

test('trace: a Nydus list names files or ranges of them', () => {
  const list =
    '{"version":"v1","files":[{"path":"/bin/ls","ranges":null},{"path":"/lib/c.so","ranges":[[0,4096],[8192,1]]}]}';
  assert.deepEqual(
    parseText(list).touches.map(({ path, offset, size }) => [path, offset, size]),
    [
      ['/bin/ls', 0, undefined],
      ['/lib/c.so', 0, 4096],
      ['/lib/c.so', 8192, 1],
    ],
  );
});

for (const path of ['/plain', '/gr\xc3\xbc\xc3\x9fe', '/not\xffutf', '/a\\x41', '/tab\there', '/c1\xc2\x85', '/']) {
  test(`trace: the path ${JSON.stringify(path)} survives its text`, () => {
    assert.equal(parsePathText(pathText(path)), path);
    assert.match(pathText(path), /^[^\p{Cc}]*$/u);
  });
}

test('trace: the page of the format names every field', () => {
  const page = readFileSync('docs/format/trace.md', 'utf8');
  const names = TEXT.split('\n').flatMap((line) => Object.keys(JSON.parse(line || '{}') as object));
  for (const name of new Set(names)) assert.ok(page.includes(`\`${name}\``), name);
});
