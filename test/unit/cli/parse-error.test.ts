import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nearest } from '../../../src/cli/parse-error.ts';

const NAMES = ['convert', 'mount', 'umount', 'ls', 'registry serve'];

for (const { word, want } of [
  { word: 'conver', want: 'convert' },
  { word: 'covnert', want: 'convert' },
  { word: 'unmount', want: 'umount' },
  { word: 'mont', want: 'mount' },
  { word: 'l', want: 'ls' },
  { word: 'registry serv', want: 'registry serve' },
  { word: 'frobnicate', want: undefined },
  { word: 'x', want: undefined },
]) {
  test(`nearest: ${word} is ${want ?? 'nothing'}`, () => assert.equal(nearest(word, NAMES), want));
}

test('nearest: of nothing is nothing', () => assert.equal(nearest('ls', []), undefined));
