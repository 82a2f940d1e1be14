import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ARENA_RUN_MAX, ByteArena, Column } from '../../../src/base/columns.ts';

test('a column keeps what is set, page after page', () => {
  const column = new Column(Float64Array);
  assert.equal(column.get(0), 0);
  for (let index = 0; index < 70_000; index++) column.set(index, index * 2 ** 33);
  for (let index = 0; index < 70_000; index++) assert.equal(column.get(index), index * 2 ** 33);
  assert.equal(column.get(70_001), 0);
});

test('a column takes a number far behind the first page', () => {
  const column = new Column(Uint32Array);
  column.set(1, 5);
  column.set(100_000, 7);
  assert.deepEqual(
    [1, 99_999, 100_000].map((index) => column.get(index)),
    [5, 0, 7],
  );
});

test('an arena keeps runs in one piece, of any size up to a page', () => {
  const arena = new ByteArena();
  const texts = Array.from({ length: 6000 }, (_, i) => String.fromCharCode(i % 256).repeat((i * 7919) % 1500));
  const places = texts.map((text) => arena.add(text));
  const large = arena.reserve(ARENA_RUN_MAX);
  arena.view(large, ARENA_RUN_MAX).fill(7);
  const last = arena.add('end');
  texts.forEach((text, i) => {
    assert.equal(arena.text(places[i] as number, text.length), text);
  });
  assert.ok(arena.view(large, ARENA_RUN_MAX).every((byte) => byte === 7));
  assert.equal(arena.text(last, 3), 'end');
});
