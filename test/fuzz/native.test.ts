// The addon's parsers of hostile bytes, with sanitizers: FUZZ_SECONDS each (2 when not given), inputs after FUZZ_SEED.
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { program } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';

const seconds = process.env.FUZZ_SECONDS ?? '2';
const named = process.env.FUZZ_SEED ?? new Date().toISOString().slice(0, 10);
const seed = createHash('sha256').update(named).digest().readUInt32LE();
const only = process.env.FUZZ_TARGET;

for (const target of ['bootstrap', 'request']) {
  const name = `native-${target}`;
  const needs = only === undefined || only === name ? program('g++') : { skip: 'FUZZ_TARGET is another' };
  test(`${name}: whatever it is given ends in an errno`, { ...needs }, async (t) => {
    const args = ['scripts/fuzz-native.mjs', target, seconds, String(seed)];
    const { stdout } = await runTool(process.execPath, args);
    t.diagnostic(`${name}: seed ${named}, ${stdout.trim().split('\n').at(-1)}`);
  });
}
