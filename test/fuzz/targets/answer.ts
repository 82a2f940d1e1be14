// Answers of HTTP as `range-connection.ts` takes them apart.
import assert from 'node:assert/strict';
import { ChunkedBody, parseResponseHead } from '../../../src/registry/response-head.ts';
import type { FuzzTarget } from '../target.ts';

/** What comes of a body in chunks, in pieces of `size` bytes, and how many of its bytes that took. */
function taken(bytes: Buffer, size: number): { readonly end: string; readonly data: string; readonly used: number } {
  const chunks = new ChunkedBody();
  const data: Buffer[] = [];
  let [end, used] = ['more', 0];
  while (used < bytes.length && end === 'more') {
    end = chunks.take(bytes.subarray(used, used + size), (piece) => void data.push(piece));
    used = Math.min(bytes.length, used + size);
  }
  return { end, data: Buffer.concat(data).toString('latin1'), used };
}

export const answerTarget: FuzzTarget = {
  name: 'answer',
  run(input) {
    const bytes = Buffer.from(input);
    const head = parseResponseHead(bytes);
    if (typeof head !== 'object') return;
    assert.ok(head.size <= bytes.length && head.status >= 100 && head.status < 600);
    if (head.bodySize !== 'in chunks') return;
    // However it is cut, the same comes out.
    const body = bytes.subarray(head.size);
    const singly = taken(body, 1);
    const whole = taken(body.subarray(0, singly.used), body.length + 1);
    assert.deepEqual([whole.end, whole.data], [singly.end, singly.data]);
  },
  dictionary: [
    ...['HTTP/1.1 206 ', 'HTTP/1.0 200 ', 'HTTP/1.1 100 Continue\r\n\r\n', '\r\n', '\r\n\r\n', ': '],
    ...[
      'Content-Length: ',
      'Transfer-Encoding: chunked\r\n',
      'Connection: close\r\n',
      '0\r\n\r\n',
      'fffffffffff\r\n',
      ';a="b"',
    ],
  ],
};
