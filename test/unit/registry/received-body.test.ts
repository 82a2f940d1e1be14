// The body of an answer between its connection and its reader.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ReceivedBody } from '../../../src/registry/received-body.ts';

function open() {
  const said: string[] = [];
  const control = {
    pause: () => said.push('pause'),
    resume: () => said.push('resume'),
    abort: (reason: Error) => said.push(`abort: ${reason.message}`),
  };
  const body = new ReceivedBody(control);
  body.onOver(() => said.push('over'));
  return { said, body };
}

const piece = (size: number) => Buffer.alloc(size, 7);

async function collect(body: AsyncIterable<Uint8Array>): Promise<number> {
  let size = 0;
  for await (const { length } of body) size += length;
  return size;
}

test('received body: what came before and while it is read, then the end', async () => {
  const { body, said } = open();
  body.push(piece(10));
  const all = collect(body);
  await new Promise(setImmediate);
  body.push(piece(20));
  body.push(piece(30));
  body.end();
  assert.equal(await all, 60);
  assert.deepEqual(said, ['over']);
  assert.equal(body.isOver, true);
  assert.equal(body.received, 60);
  body.onOver(() => said.push('late'));
  assert.deepEqual(said, ['over', 'late']);
});

test('received body: what came before an error is given out, then the error', async () => {
  const { body, said } = open();
  body.push(piece(10));
  body.end(new Error('reset'));
  assert.deepEqual(await body.next(), { done: false, value: piece(10) });
  await assert.rejects(body.next(), /reset/);
  body.end();
  await assert.rejects(body.next(), /reset/);
  assert.deepEqual(said, ['over']);
});

test('received body: a reader that is slow stops the connection, not the memory', async () => {
  const { body, said } = open();
  for (let count = 0; count < 8; count++) body.push(piece(65_536));
  assert.deepEqual(said, ['pause']);
  for (let count = 0; count < 4; count++) await body.next();
  assert.deepEqual(said, ['pause']);
  await body.next();
  assert.deepEqual(said, ['pause', 'resume']);
});

test('received body: leaving the loop ends the connection, unless all has come', async () => {
  const left = open();
  left.body.push(piece(10));
  for await (const _ of left.body) break;
  assert.deepEqual(left.said, ['over', 'abort: given up']);

  const whole = open();
  whole.body.push(piece(10));
  whole.body.end();
  for await (const _ of whole.body) break;
  assert.deepEqual(whole.said, ['over']);
});

test('received body: a short rest is read and dropped, a long one cut off', async () => {
  const short = open();
  short.body.push(piece(10));
  short.body.drop(100);
  short.body.push(piece(100));
  short.body.end();
  assert.deepEqual(short.said, ['over']);
  assert.equal(await collect(short.body), 0);

  const long = open();
  for (let count = 0; count < 8; count++) long.body.push(piece(65_536));
  long.body.drop(100);
  long.body.push(piece(100));
  assert.deepEqual(long.said, ['pause', 'resume']);
  long.body.push(piece(1));
  assert.deepEqual(long.said, ['pause', 'resume', 'over', 'abort: given up']);
});

test('received body: whoever waits for a piece hears that it was given up', async () => {
  const { body } = open();
  const next = body.next();
  body.destroy();
  assert.deepEqual(await next, { done: true, value: undefined });
});
