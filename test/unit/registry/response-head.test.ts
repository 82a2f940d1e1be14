// Heads of answers and bodies in chunks, whole, in pieces, and as nobody should send them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ChunkedBody, parseResponseHead } from '../../../src/registry/response-head.ts';

const parse = (...lines: string[]) => parseResponseHead(Buffer.from(`${lines.join('\r\n')}\r\n\r\nbody`));

test('response head: status, headers, where the body is', () => {
  const text = 'HTTP/1.1 206 Partial Content\r\nContent-Length: 4\r\nX-A:  b \r\nx-a: c\r\n\r\nbody';
  const bytes = Buffer.from(text);
  for (let length = 0; length < text.length - 4; length++) {
    assert.equal(parseResponseHead(bytes.subarray(0, length)), 'unfinished');
  }
  const head = parseResponseHead(bytes);
  assert.ok(typeof head === 'object');
  const { headers, ...others } = head;
  assert.deepEqual(others, { status: 206, size: text.length - 4, bodySize: 4, keepsAlive: true });
  assert.deepEqual(['content-length', 'x-a', 'a'].map(headers), ['4', ['b', 'c'], undefined]);
});

const framings: readonly (readonly [lines: string[], bodySize: unknown, keepsAlive: boolean])[] = [
  [['HTTP/1.1 200 OK', 'Content-Length: 0'], 0, true],
  [['HTTP/1.1 200', 'Content-Length: 7', 'Connection: Close'], 7, false],
  [['HTTP/1.0 200 OK', 'Content-Length: 7'], 7, false],
  [['HTTP/1.0 200 OK', 'Content-Length: 7', 'Connection: keep-alive'], 7, true],
  [['HTTP/1.1 200 OK', 'Transfer-Encoding: Chunked'], 'in chunks', true],
  [['HTTP/1.1 200 OK'], 'until closed', true],
  [['HTTP/1.1 204 No Content'], 0, true],
  [['HTTP/1.1 100 Continue'], 0, true],
];
for (const [lines, bodySize, keepsAlive] of framings) {
  test(`response head: ${lines.join(', ')}`, () => {
    const head = parse(...lines);
    assert.ok(typeof head === 'object');
    assert.deepEqual([head.bodySize, head.keepsAlive], [bodySize, keepsAlive]);
  });
}

const refused: readonly string[][] = [
  ['HTTP/2 200 OK'],
  ['ICY 200 OK'],
  ['HTTP/1.1 2000 OK'],
  ['HTTP/1.1 206 OK', 'Content-Length: 4', 'Content-Length: 4'],
  ['HTTP/1.1 206 OK', 'Content-Length: 4, 4'],
  ['HTTP/1.1 206 OK', 'Content-Length: -4'],
  ['HTTP/1.1 206 OK', 'Content-Length: 0x4'],
  ['HTTP/1.1 206 OK', 'Content-Length: 4', 'Transfer-Encoding: chunked'],
  ['HTTP/1.1 206 OK', 'Transfer-Encoding: gzip, chunked'],
  ['HTTP/1.1 206 OK', 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'],
  ['HTTP/1.1 206 OK', 'Content-Length : 4'],
  ['HTTP/1.1 206 OK', 'A: b', ' folded: c'],
  ['HTTP/1.1 206 OK', 'A: b\nContent-Length: 4'],
  ['HTTP/1.1 206 OK', 'A: \0'],
  ['HTTP/1.1 206 OK', 'no colon'],
];
for (const lines of refused) {
  test(`response head: not ${JSON.stringify(lines.join(', '))}`, () => assert.equal(parse(...lines), undefined));
}

/** What comes out of a body in chunks that comes in pieces of `size` bytes. */
function taken(text: string, size: number): { readonly end: string; readonly data: string } {
  const chunks = new ChunkedBody();
  let [end, data] = ['more', ''];
  for (let at = 0; at < text.length && end === 'more'; at += size) {
    end = chunks.take(Buffer.from(text.slice(at, at + size)), (piece) => {
      data += piece.toString();
    });
  }
  return { end, data };
}

test('response body: in chunks, however it is cut', () => {
  const text = '5;name="v"\r\nhello\r\nA\r\n, chunked!\r\n0\r\nTrailer: x\r\n\r\n';
  for (let size = 1; size <= text.length; size++) {
    assert.deepEqual(taken(text, size), { end: 'over', data: 'hello, chunked!' });
  }
  for (let length = 0; length < text.length; length++) {
    assert.equal(taken(text.slice(0, length), 7).end, 'more');
  }
});

for (const text of [
  '5\nhello',
  'g\r\n',
  '-1\r\n',
  '5\r\nhello!\r\n',
  '\r\n',
  '0\r\n\r\nmore',
  '1'.repeat(5000),
  '1111111111111\r\n',
]) {
  test(`response body: not in chunks such as ${JSON.stringify(text.slice(0, 20))}`, () => {
    assert.equal(taken(text, text.length).end, 'wrong');
  });
}

test('response body: no end of trailers is waited for', () => {
  assert.equal(taken(`0\r\n${'a: b\r\n'.repeat(200)}`, 1000).end, 'wrong');
});
