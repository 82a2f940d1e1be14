// What sees to it that no test file holds up the run.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { FileWatch } from '../../support/file-watch.ts';
import { until } from '../../support/until.ts';

/** A file in the place of node's, which starts it with an output that it waits for; `script` is what it does. */
function start(t: TestContext, script: string, { fileTimeoutMs = 60_000, outputTimeoutMs = 60_000 } = {}) {
  const watch = new FileWatch({ fileTimeoutMs, outputTimeoutMs });
  const before = process.env.NAIAD_TEST_FILE;
  t.after(async () => {
    await watch.endLeftovers(0);
    watch[Symbol.dispose]();
    if (before === undefined) delete process.env.NAIAD_TEST_FILE;
    else process.env.NAIAD_TEST_FILE = before;
  });
  watch.started('a-file');
  const child = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'ignore'] });
  child.stdout.resume();
  return { watch, exited: once(child, 'exit'), closed: once(child, 'close') };
}

test('a file that takes too long is killed with what it started', async (t) => {
  const { watch, closed } = start(t, 'setsid sleep 1000 & wait', { fileTimeoutMs: 100 });
  assert.deepEqual(await closed, [null, 'SIGKILL']);
  assert.match(watch.ended('a-file') ?? '', /^was killed after \d+ s: .*\(sleep 1000\)/);
  assert.deepEqual(await watch.endLeftovers(0), []);
});

test('what a file leaves at its output is killed some time after it has ended', async (t) => {
  const { watch, closed } = start(t, 'setsid sleep 1001 & exit 0', { outputTimeoutMs: 100 });
  assert.deepEqual(await closed, [0, null]);
  assert.match(watch.ended('a-file') ?? '', /holds its output open: process \d+ \(sleep 1001\)$/);
});

test('what a file leaves elsewhere is named at the end, unless it ends by itself', async (t) => {
  const { watch, exited } = start(t, 'setsid sleep 1002 >&- & setsid sleep 0.1 >&- & exit 0');
  await exited;
  assert.equal(watch.ended('a-file'), undefined);
  const [left, ...others] = await watch.endLeftovers(2000);
  assert.deepEqual(others, []);
  assert.equal(left?.file, 'a-file');
  assert.match(left?.command ?? '', /\(sleep 1002\)$/);
  await until('it is gone', async () => (await watch.endLeftovers(0)).length === 0);
});
