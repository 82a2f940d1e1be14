// Inputs that once went wrong, and what they must end in now: fixtures/should-fail/TARGET/CODE-cause.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { CODES } from '../../src/base/errors.ts';
import { judge } from '../fuzz/target.ts';
import { fuzzTarget } from '../fuzz/targets/all.ts';

const ROOT = join('fixtures', 'should-fail');

for (const name of readdirSync(ROOT).sort()) {
  for (const file of readdirSync(join(ROOT, name)).sort()) {
    const [code = ''] = file.split('-');
    test(`${name}: ${file.slice(code.length + 1).replaceAll('-', ' ')}`, async () => {
      assert.ok(code in CODES || code === 'OK', `${file} starts with the code it must end in`);
      const outcome = await judge(fuzzTarget(name), readFileSync(join(ROOT, name, file)));
      assert.deepEqual(outcome, { okay: true, code });
    });
  }
}
