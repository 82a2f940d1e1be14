// The benchmark of reads measures every file system it can have here, and says why it could not have the others. Its figures
// are not judged: other tests run beside it.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ReadBenchReport } from '../../src/bench/read-bench.ts';
import { DRIVER_NAMES } from '../../src/mount/driver.ts';
import { driver } from '../support/drivers.ts';
import { fixture, fixturePath } from '../support/fixtures.ts';
import { naiadHome } from '../support/naiad.ts';
import { addon, every, root } from '../support/requires.ts';
import { temporaryDir } from '../support/temporary.ts';

test('bench read: every operation on every driver, cold and warm, beside ext4', {
  ...every(root(), addon(), fixture('features')),
}, async () => {
  using scratch = temporaryDir('bench-read');
  await using naiad = naiadHome(join(scratch.path, 'home'));
  const image = `oci:${join(scratch.path, 'layout')}:x`;
  await naiad.run(['convert', '--quiet', `oci:${fixturePath('features')}:latest`, image]);
  const report = await naiad.json<ReadBenchReport>(['bench', 'read', '--runs', '1', image]);
  const names = report.targets.map(({ name }) => name);
  for (const { name, why } of report.missing) assert.ok(!names.includes(name) && why.length > 0);
  assert.deepEqual(
    [...names, ...report.missing.map(({ name }) => name)].sort(),
    ['ext4', 'floor', ...DRIVER_NAMES].sort(),
  );
  for (const name of ['ext4', ...DRIVER_NAMES.filter((each) => driver(each).skip === false)]) {
    const own = report.figures.filter(({ target }) => target === name);
    assert.equal(own.length, 10, name);
    for (const { microseconds, toExt4 } of own) {
      assert.ok(microseconds.median > 0, name);
      assert.ok(toExt4 !== undefined && toExt4 > 0, name);
    }
  }
});
