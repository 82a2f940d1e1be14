import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { ChunkIndex } from '../../../src/chunk/chunk-index.ts';

interface Known {
  readonly digest: Uint8Array;
  readonly size: number;
}

function indexOver(chunks: Known[]): ChunkIndex {
  return new ChunkIndex({
    hasContent: (index, digest, size) =>
      chunks[index]?.size === size && Buffer.compare(chunks[index].digest, digest) === 0,
    digest: (index) => chunks[index]?.digest as Uint8Array,
  });
}

test('finds what was added, by digest and size', () => {
  const chunks: Known[] = [];
  const index = indexOver(chunks);
  const digestOf = (number: number) => createHash('sha256').update(`${number}`).digest();
  for (let number = 0; number < 20_000; number++) {
    const digest = digestOf(number);
    assert.equal(index.find(digest, number), undefined);
    chunks.push({ digest, size: number });
    index.add(digest, number);
  }
  for (let number = 0; number < 20_000; number++) {
    assert.equal(index.find(digestOf(number), number), number);
    assert.equal(index.find(digestOf(number), number + 1), undefined);
  }
  assert.equal(index.find(digestOf(20_000), 20_000), undefined);
});

test('digests that begin alike do not hide each other', () => {
  const chunks: Known[] = [];
  const index = indexOver(chunks);
  for (let number = 0; number < 3000; number++) {
    const digest = new Uint8Array(32).fill(0xff);
    digest.set([number & 0xff, number >> 8], 30);
    chunks.push({ digest, size: 4096 });
    index.add(digest, number);
  }
  assert.deepEqual(
    chunks.map(({ digest }) => index.find(digest, 4096)),
    chunks.map((_, number) => number),
  );
});
