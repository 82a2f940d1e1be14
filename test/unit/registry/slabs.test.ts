// Memory of bodies: whose it is, and when it is used again.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SLAB_SIZE_MAX, takeSlab } from '../../../src/base/slabs.ts';
import { KiB, MiB } from '../../../src/base/units.ts';
import { ReceivedBody } from '../../../src/registry/received-body.ts';
import { SlabReader } from '../../../src/registry/slabs.ts';

const idle = { pause() {}, resume() {}, abort() {} };

/** A body; over, unless it is to be still read. */
function body({ isOver = true } = {}): ReceivedBody {
  const made = new ReceivedBody(idle);
  if (isOver) made.end();
  return made;
}

test('slabs: as long as asked for, and no longer than one may be', () => {
  for (const size of [1, 64 * KiB, 64 * KiB + 1, MiB - 1, MiB]) assert.equal(takeSlab(size).length, size);
  assert.equal(takeSlab(9 * MiB).length, SLAB_SIZE_MAX);
});

test('slabs: memory is used again once its reader is two pieces on, and never twice at once', () => {
  const reader = new SlabReader();
  const [first, second] = [takeSlab(MiB), takeSlab(MiB)];
  reader.next(first.subarray(0, 10));
  reader.next(first.subarray(10, 20));
  reader.next(second.subarray(0, 10));
  assert.notEqual(takeSlab(MiB).buffer, first.buffer);
  reader.next(second.subarray(10, 20));
  const again = takeSlab(MiB);
  assert.equal(again.buffer, first.buffer);
  reader.end(body());
  assert.equal(takeSlab(MiB).buffer, second.buffer);
  // A second reader of what was given back already has nothing to give.
  const other = new SlabReader();
  other.next(again);
  other.end(body());
  const twice = new SlabReader();
  twice.next(again);
  twice.end(body());
  const [one, two] = [takeSlab(MiB), takeSlab(MiB)];
  assert.equal(one.buffer, again.buffer);
  assert.notEqual(two.buffer, again.buffer);
});

test('slabs: memory that is still read into, or is of somebody else, is left alone', () => {
  const reader = new SlabReader();
  const slab = takeSlab(512 * KiB);
  reader.next(slab);
  reader.end(body({ isOver: false }));
  assert.notEqual(takeSlab(512 * KiB).buffer, slab.buffer);
  const own = Buffer.alloc(256 * KiB);
  reader.next(own);
  reader.end(body());
  assert.notEqual(takeSlab(256 * KiB).buffer, own.buffer);
});
