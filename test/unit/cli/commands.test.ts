import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COMMANDS } from '../../../src/cli/commands.ts';
import { parseCommandLine } from '../../../src/cli/parser.ts';

const COLUMNS = 80;

for (const entry of COMMANDS) {
  const words = entry.name.split(' ');

  test(`naiad ${entry.name}: the table and the module agree`, async () => {
    const { command } = await entry.load();
    assert.equal(command.summary, entry.summary);
    assert.match(command.usage, new RegExp(`^${entry.name}( |$)`));
    assert.ok(command.examples.length > 0, 'has an example');
    for (const [line] of command.examples) assert.match(line, new RegExp(`^naiad .*${words[0]}`));
  });

  test(`naiad ${entry.name} --help: usage, summary and examples in ${COLUMNS} columns`, async () => {
    const invocation = await parseCommandLine([...words, '--help']);
    assert.ok(invocation.kind === 'text');
    assert.equal(invocation.exit, 0);
    const { text } = invocation;
    assert.match(text, new RegExp(`^Usage: naiad ${entry.name}`));
    assert.ok(text.includes(entry.summary));
    assert.match(text, /^Examples:$/m);
    assert.match(text, /^Global options:$/m);
    const wide = text.split('\n').filter((line) => line.length > COLUMNS);
    assert.deepEqual(wide, []);
  });

  test(`naiad ${entry.name}: an unknown option is refused`, async () => {
    await assert.rejects(parseCommandLine([...words, '--no-such-thing']), { code: 'USAGE' });
  });
}

/** What takes an image from wherever it is; benches make their own surroundings. */
const readers = COMMANDS.filter(({ name }) => !/^(bench|cache unpin)/.test(name));

for (const entry of readers) {
  test(`naiad ${entry.name}: the options for registries, if it takes a reference`, async () => {
    const { command } = await entry.load();
    if (!/[<[](image|source|repository)[\]>]/.test(command.usage)) return;
    const invocation = await parseCommandLine([...entry.name.split(' '), '--help']);
    assert.ok(invocation.kind === 'text');
    for (const option of ['authfile', 'certs-dir', 'plain-http', 'insecure-skip-verify', 'tls-verify', 'dragonfly']) {
      assert.match(invocation.text, new RegExp(`--${option}\\b`));
    }
  });
}

test('naiad --help: every command, in 80 columns', async () => {
  const invocation = await parseCommandLine(['--help']);
  assert.ok(invocation.kind === 'text');
  const width = Math.max(...COMMANDS.map(({ name }) => name.length));
  for (const { name, summary } of COMMANDS)
    assert.ok(invocation.text.includes(`  ${name.padEnd(width)}  ${summary}`), name);
  assert.deepEqual(
    invocation.text.split('\n').filter((line) => line.length > COLUMNS),
    [],
  );
});
