import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ARENA_RUN_MAX, ByteArena, COLUMN_PAGE_SIZE, Column, Table } from '../../../src/base/columns.ts';
import { PagePool } from '../../../src/base/page-pool.ts';
import { temporaryDir } from '../../support/temporary.ts';

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

test('a table keeps words and bytes of a row side by side', () => {
  const table = new Table(5);
  for (let row = 0; row < 3000; row++) {
    const page = table.roomFor(row);
    const start = table.startOf(row);
    new Uint8Array(page.buffer, page.byteOffset + start * 4, 8).fill(row % 251);
    for (let word = 2; word < 5; word++) page[start + word] = row * 1000 + word;
  }
  for (let row = 0; row < 3000; row++) {
    assert.ok(table.bytes(row, 0, 8).every((byte) => byte === row % 251));
    assert.deepEqual(
      [2, 3, 4].map((word) => table.get(row, word)),
      [2, 3, 4].map((word) => row * 1000 + word),
    );
    assert.equal(table.pageOf(row)[table.startOf(row) + 4], row * 1000 + 4);
  }
});

test('columns of a pool that is far too small keep everything, and each other whole', () => {
  using scratch = temporaryDir('page-pool');
  using pool = new PagePool({ pageSize: COLUMN_PAGE_SIZE, sizeMax: 12 * COLUMN_PAGE_SIZE, directory: scratch.path });
  const columns = [new Column(Uint32Array, pool), new Column(Float64Array, pool), new Column(Uint8Array, pool)];
  const expected = columns.map(() => new Map<number, number>());
  let random = 12345;
  const next = (below: number) => {
    random = (Math.imul(random, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((random / 2 ** 32) * below);
  };
  for (let step = 0; step < 60_000; step++) {
    const which = next(3);
    const index = next(80_000);
    const value = next(256);
    columns[which]?.set(index, value);
    expected[which]?.set(index, value);
    const asked = next(80_000);
    assert.equal(columns[which]?.get(asked), expected[which]?.get(asked) ?? 0);
  }
  for (const [which, column] of columns.entries()) {
    for (let index = 0; index < 80_000; index++) assert.equal(column.get(index), expected[which]?.get(index) ?? 0);
  }
});

test('pages that are given back are zeros for whoever gets them next', () => {
  using scratch = temporaryDir('page-pool');
  using pool = new PagePool({ pageSize: COLUMN_PAGE_SIZE, sizeMax: 12 * COLUMN_PAGE_SIZE, directory: scratch.path });
  for (let round = 0; round < 5; round++) {
    const column = new Column(Uint32Array, pool);
    column.set(100_000, 1);
    for (let index = 0; index < 100_000; index += 1000) assert.equal(column.get(index), 0);
    for (let index = 0; index < 100_000; index++) column.set(index, index + round);
    for (let index = 0; index < 100_000; index++) assert.equal(column.get(index), index + round);
    column.release();
  }
});

test('two runs of an arena can be looked at together while pages come and go', () => {
  using scratch = temporaryDir('page-pool');
  using pool = new PagePool({ pageSize: ARENA_RUN_MAX, sizeMax: 9 * ARENA_RUN_MAX, directory: scratch.path });
  const arena = new ByteArena(pool);
  const size = 100_000;
  const places = Array.from({ length: 60 }, (_, i) => {
    const at = arena.reserve(size);
    arena.view(at, size).fill(i);
    return at;
  });
  for (let i = 0; i < 60; i++) {
    for (let j = 0; j < 60; j += 7) {
      const [one, other] = [arena.view(places[i] as number, size), arena.view(places[j] as number, size)];
      assert.ok(one.every((byte) => byte === i) && other.every((byte) => byte === j));
    }
  }
});
