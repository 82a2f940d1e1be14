import assert from 'node:assert/strict';
import { test } from 'node:test';
import { guessOutput, parseCommandLine } from '../../../src/cli/parser.ts';

const CAT_HELP = 'Run `naiad cat --help` to see its arguments and options.';
const HELP = 'Run `naiad ls --help` to see its arguments and options.';

for (const { line, message, hint } of [
  { line: 'lss', message: 'unknown command "lss"', hint: 'Did you mean `naiad ls`?' },
  { line: 'frobnicate', message: 'unknown command "frobnicate"', hint: 'Run `naiad --help` to see what there is.' },
  { line: 'registry serv', message: 'unknown command "registry serv"', hint: 'Did you mean `naiad registry serve`?' },
  { line: '--nope', message: 'unknown option --nope', hint: 'Run `naiad --help` to see what there is.' },
  { line: 'ls', message: 'missing <image>', hint: HELP },
  { line: 'cat image', message: 'missing <path>', hint: CAT_HELP },
  { line: 'ls image / extra', message: 'unexpected argument "extra"', hint: HELP },
  { line: 'ls image --recursiv', message: 'unknown option --recursiv', hint: 'Did you mean --recursive?' },
  { line: 'ls image --recursiv=1', message: 'unknown option --recursiv', hint: 'Did you mean --recursive?' },
  { line: 'cat --qwertyuiop image', message: 'unknown option --qwertyuiop', hint: CAT_HELP },
  { line: 'ls image -- / -x', message: 'unexpected argument "-x"', hint: HELP },
  { line: 'ls image -X', message: 'unknown option -X', hint: HELP },
  { line: 'ls image --qwertyuiop', message: 'unknown option --qwertyuiop', hint: HELP },
  {
    line: 'ls image --log-level loud',
    message: '--log-level is "loud", expected one of error, warn, info, debug, trace',
    hint: HELP,
  },
  { line: 'run', message: 'missing <image>', hint: 'Run `naiad run --help` to see its arguments.' },
]) {
  test(`parser: naiad ${line}`, () =>
    assert.rejects(parseCommandLine(line.split(' ')), { name: 'NaiadError', code: 'USAGE', message, hint }));
}

async function parsed(...argv: string[]): Promise<Record<string, unknown>> {
  const invocation = await parseCommandLine(argv);
  assert.ok(invocation.kind === 'command', 'a command, no text');
  return { ...invocation.args, output: invocation.output };
}

test('parser: what stands behind -- is no option', async () => {
  const { image, path } = await parsed('cat', 'img', '--', '--json');
  assert.deepEqual({ image, path }, { image: 'img', path: '--json' });
});

test('parser: global options stand before or behind the command', async () => {
  for (const argv of [
    ['--json', '--log-level', 'debug', 'ls', 'img'],
    ['ls', 'img', '--json', '--log-level=debug'],
    ['--log-level=debug', 'ls', '--json', 'img'],
  ]) {
    const { output, image } = await parsed(...argv);
    assert.deepEqual(output, { json: true, quiet: false, logLevel: 'debug' }, argv.join(' '));
    assert.equal(image, 'img');
  }
});

test('parser: what looks like a number stays what was written', async () => {
  assert.equal((await parsed('ls', '0123')).image, '0123');
});

test('parser: of an option given twice the last one counts', async () => {
  assert.equal(
    (await parsed('ls', 'img', '--platform', 'linux/amd64', '--platform', 'linux/arm64')).platform,
    'linux/arm64',
  );
});

test('parser: options that take several values keep them all', async () => {
  const run = await parsed('run', '-e', 'A=1', '--env', 'B=2', '--user', 'x', '--user', 'y', 'img');
  assert.deepEqual([run.env, run.user], [['A=1', 'B=2'], 'y']);
  assert.deepEqual((await parsed('convert', '--prefetch', 'a', '--prefetch=b', 'src', 'dst')).prefetch, ['a', 'b']);
});

test("parser: behind run's image everything is the container's", async () => {
  const { image, command, output } = await parsed(
    'run',
    '--quiet',
    'img',
    'sh',
    '-c',
    'echo a b',
    '--json',
    '--',
    '-x',
  );
  assert.equal(image, 'img');
  assert.deepEqual(command, ['sh', '-c', 'echo a b', '--json', '--', '-x']);
  assert.deepEqual(output, { json: false, quiet: true, logLevel: 'info' });
  assert.deepEqual((await parsed('run', 'img', '--', 'ls')).command, ['ls']);
  assert.deepEqual((await parsed('run', 'img')).command, []);
});

for (const { line, exit, starts } of [
  { line: '', exit: 2, starts: 'naiad: container images' },
  { line: '--help', exit: 0, starts: 'naiad: container images' },
  { line: 'help', exit: 0, starts: 'naiad: container images' },
  { line: 'help ls', exit: 0, starts: 'Usage: naiad ls <image> [path]' },
  { line: 'ls -h', exit: 0, starts: 'Usage: naiad ls <image> [path]' },
  { line: 'registry', exit: 2, starts: 'Usage: naiad registry <command>' },
  { line: 'registry --help', exit: 0, starts: 'Usage: naiad registry <command>' },
  { line: '--version', exit: 0, starts: '0.1.0' },
]) {
  test(`parser: naiad ${line} answers with a text`, async () => {
    const invocation = await parseCommandLine(line.split(' ').filter((word) => word !== ''));
    assert.ok(invocation.kind === 'text');
    assert.equal(invocation.exit, exit);
    assert.ok(invocation.text.startsWith(starts), invocation.text.slice(0, 60));
  });
}

test('parser: a line that cannot be parsed still says how it wants its error', () => {
  assert.deepEqual(guessOutput(['lss', '--json']), { json: true, quiet: false, logLevel: 'info' });
});

test('parser: a list of arguments is a list, of one as well', async () => {
  assert.deepEqual((await parsed('cache', 'verify', 'a')).blob, ['a']);
  assert.deepEqual((await parsed('cache', 'verify', 'a', '--repair', 'b')).blob, ['a', 'b']);
  assert.deepEqual((await parsed('trace', 'merge', '-o', 'x', 'a', 'b')).traces, ['a', 'b']);
});

for (const line of ['convert -x source', 'ls -x', 'run --tpyo']) {
  test(`parser: naiad ${line}: the option is what is wrong, not the argument that it seems to have taken`, async () => {
    await assert.rejects(parseCommandLine(line.split(' ')), { code: 'USAGE', message: /^unknown option --?[xt]/ });
  });
}
