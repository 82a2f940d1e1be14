import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mergeScopes, repositoryOf } from '../../../src/registry/scopes.ts';

for (const [texts, want] of [
  [[], []],
  [[undefined, ''], []],
  [['repository:a:pull', 'repository:a:pull,push'], ['repository:a:pull,push']],
  [
    ['repository:b:pull repository:a:pull', 'repository:a:push'],
    ['repository:b:pull', 'repository:a:pull,push'],
  ],
  [['repository:h.x:5000/a:pull'], ['repository:h.x:5000/a:pull']],
  [['nonsense', ':pull'], []],
] as const) {
  test(`scopes: ${JSON.stringify(texts)}`, () => assert.deepEqual(mergeScopes(...texts), want));
}

test('scopes: the repository is that of the first', () => {
  assert.equal(repositoryOf('repository:h.x:5000/a:pull,push repository:b:pull'), 'h.x:5000/a');
  assert.equal(repositoryOf('registry:catalog:*'), '');
  assert.equal(repositoryOf(undefined), '');
});
