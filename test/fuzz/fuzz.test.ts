// Every parser against hostile input for a bounded time: FUZZ_SECONDS a target (2 when not given), inputs made from
// FUZZ_SEED (today's date when not given, so that every day's run is another one) out of fixtures/fuzz.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatSize } from '../../src/base/units.ts';
import { runFuzz } from './run-fuzz.ts';
import { FUZZ_TARGETS } from './targets/all.ts';

const seconds = Number(process.env.FUZZ_SECONDS ?? '2');
const seed = process.env.FUZZ_SEED ?? new Date().toISOString().slice(0, 10);
const only = process.env.FUZZ_TARGET;
/** The test runner gives a file ten minutes. */
const SECONDS_MAX = 540;
const total = seconds * (only === undefined ? FUZZ_TARGETS.length : 1);
if (!(total <= SECONDS_MAX))
  throw new Error(`FUZZ_SECONDS=${seconds} comes to ${total} s, at most ${SECONDS_MAX}; name one FUZZ_TARGET`);

for (const { name } of FUZZ_TARGETS) {
  test(`${name}: whatever it is given ends in a typed error`, {
    skip: only !== undefined && only !== name,
  }, async (t) => {
    const result = await runFuzz(name, { seed, seconds });
    const rate = Math.round(result.iterations / seconds);
    const codes = Object.entries(result.codes).map(([code, count]) => `${code} ${count}`);
    t.diagnostic(
      `${name}: seed ${seed}, ${result.iterations} inputs (${rate}/s), +${formatSize(result.memory)}; ${codes.join(', ')}`,
    );
    const found = result.failures.map(({ iteration, what, path, size }) => {
      return `iteration ${iteration} of FUZZ_SEED=${seed}: ${what}\n  kept as ${path} (${size} bytes)`;
    });
    assert.equal(
      found.length,
      0,
      `${found.join('\n')}\nOnce mended, move the input to fixtures/should-fail/${name}/CODE-cause.`,
    );
  });
}
