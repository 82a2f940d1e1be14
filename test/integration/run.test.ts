// `naiad run`: what the container is given, how it ends, and that nothing of it stays, however it ended.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { mountpointsBelow, type NaiadHome, naiadHome, startNaiad } from '../support/naiad.ts';
import { every, fuse, program, root } from '../support/requires.ts';
import { runTool } from '../support/run-tool.ts';
import { makeShellImage, shellImage } from '../support/shell-image.ts';
import { temporaryDir } from '../support/temporary.ts';
import { until } from '../support/until.ts';

const needs = every(root(), fuse(), program('runc'), shellImage());

let scratch: ReturnType<typeof temporaryDir>;
let naiad: NaiadHome;
let image: string;

before(async () => {
  if (needs.skip !== false) return;
  scratch = temporaryDir('run');
  naiad = naiadHome(join(scratch.path, 'home'));
  const source = await makeShellImage(scratch.path);
  image = `oci:${join(scratch.path, 'converted')}:shell`;
  await naiad.run(['convert', '--quiet', source, image]);
  mkdirSync(join(scratch.path, 'shared'));
  writeFileSync(join(scratch.path, 'shared/file'), 'of the host\n');
});
after(async () => {
  await naiad?.[Symbol.asyncDispose]();
  scratch?.[Symbol.dispose]();
});

/** Nothing mounted, no record, no bundle, nothing that was written. */
function assertNothingLeft(): void {
  assert.deepEqual(mountpointsBelow(scratch.path), []);
  for (const path of [join(naiad.state, 'mounts'), join(naiad.state, 'runs'), join(naiad.cache, 'rw')]) {
    assert.deepEqual(readdirSync(path), [], path);
  }
}

interface Case {
  readonly name: string;
  readonly options?: () => readonly string[];
  /** The container's command; the image's entrypoint is `sh -c`. */
  readonly command?: string;
  readonly input?: string;
  readonly exit?: number;
  readonly stdout: string | RegExp;
}

const CASES: readonly Case[] = [
  { name: 'the command of the image', stdout: 'default\n' },
  { name: 'the directory and the variables of the image', command: 'pwd; echo $FROM_IMAGE', stdout: '/srv\nyes\n' },
  {
    name: 'the user of the image, with its groups and its home, from the image’s own passwd behind a symlink',
    command: 'id; echo $HOME',
    stdout: 'uid=1000(app) gid=1000(app) groups=1000(app),2000(extra)\n/home/app\n',
  },
  { name: 'another user', options: () => ['--user', '7:8'], command: 'id -u; id -g', stdout: '7\n8\n' },
  { name: 'root by number', options: () => ['-u', '0'], command: 'id -u; echo $HOME', stdout: '0\n/root\n' },
  { name: 'another directory', options: () => ['--workdir', '/etc'], command: 'pwd', stdout: '/etc\n' },
  {
    name: 'a directory that is not in the image',
    options: () => ['-w', '/not/there', '-u', '0'],
    command: 'pwd',
    stdout: '/not/there\n',
  },
  {
    name: 'variables, over those of the image',
    options: () => ['--env', 'FROM_IMAGE=no', '-e', 'A=b=c d', '-e', 'NOT_SET_ANYWHERE'],
    command: 'echo $FROM_IMAGE "$A" "<$NOT_SET_ANYWHERE>"',
    stdout: 'no b=c d <>\n',
  },
  { name: 'stdin', command: 'cat', input: 'from outside\n', stdout: 'from outside\n' },
  { name: 'its exit code', command: 'exit 7', exit: 7, stdout: '' },
  { name: 'the signal that ended it', command: 'sh -c "kill -9 \\$\\$"', exit: 137, stdout: /^(Killed\n)?$/ },
  { name: 'a first process of its own', command: 'echo $$', stdout: '1\n' },
  {
    name: 'a root that can be written',
    options: () => ['-u', '0'],
    command: 'echo x > /new && cat /new && touch /srv/large && stat -c %s /srv/large',
    stdout: 'x\n3000000\n',
  },
  {
    name: 'a root that cannot be written',
    options: () => ['--read-only', '-u', '0'],
    command: 'touch /new 2>/dev/null; echo $?',
    stdout: '1\n',
  },
  {
    name: 'a volume',
    options: () => ['-u', '0', '--volume', `${join(scratch.path, 'shared')}:/vol`],
    command: 'cat /vol/file; echo y > /vol/written; cat /vol/written',
    stdout: 'of the host\ny\n',
  },
  {
    name: 'a read-only volume',
    options: () => ['-u', '0', '-v', `${join(scratch.path, 'shared')}:/vol:ro`],
    command: 'cat /vol/file; touch /vol/never 2>/dev/null; echo $?',
    stdout: 'of the host\n1\n',
  },
  {
    name: 'no network but its own loopback',
    options: () => ['--net', 'none'],
    command: 'ls /sys/class/net',
    stdout: 'lo\n',
  },
  {
    name: 'the kernel’s switches out of its reach',
    options: () => ['-u', '0'],
    command: 'echo x 2>/dev/null > /proc/sys/kernel/hostname || echo refused; cat /proc/kcore | head -c 1',
    stdout: 'refused\n',
  },
  { name: 'words behind the image as they are', command: 'echo "$0" "$1"', stdout: '--help -x\n' },
];

for (const { name, options, command, input, exit = 0, stdout } of CASES) {
  test(`run gives the container ${name}`, { ...needs }, async () => {
    const words = stdout === '--help -x\n' ? ['--help', '-x'] : [];
    const args = ['run', ...(options?.() ?? []), image, ...(command === undefined ? [] : [command, ...words])];
    const result = await naiad.run(args, { okay: [exit], ...(input !== undefined && { input }) });
    if (typeof stdout === 'string') assert.equal(result.stdout, stdout, result.stderr);
    else assert.match(result.stdout, stdout);
    assertNothingLeft();
  });
}

const REFUSED: { name: string; args: () => string[]; exit: number; error: RegExp }[] = [
  { name: 'a user the image does not know', args: () => ['-u', 'nobody', image], exit: 2, error: /"nobody".*passwd/ },
  { name: 'a volume that is not there', args: () => ['-v', '/not/there:/x', image], exit: 2, error: /does not exist/ },
  { name: 'a volume without a place', args: () => ['-v', '/tmp', image], exit: 2, error: /volume "\/tmp"/ },
  { name: 'a terminal where there is none', args: () => ['--tty', image], exit: 2, error: /needs a terminal/ },
  { name: 'a reference that is none', args: () => ['UPPER/case'], exit: 2, error: /REFERENCE_INVALID/ },
  { name: 'a command that is not in the image', args: () => ['-w', '/', image], exit: 127, error: /./ },
];
for (const { name, args, exit, error } of REFUSED) {
  test(`run ends with ${exit} for ${name}`, { ...needs }, async () => {
    const words = exit === 127 ? ['nosuchcommand'] : ['true'];
    const { stderr } = await naiad.run(['run', ...args(), ...words], { okay: [exit] });
    assert.match(stderr, error);
    assertNothingLeft();
  });
}

// One failure must not make the others fail.
afterEach(async () => {
  if (needs.skip === false && mountpointsBelow(scratch.path).length > 0) await naiad.run(['run', image]);
});

/** Longer than any container here takes, also on a machine that is busy with other things. */
const CONTAINER_TIMEOUT_MS = 120_000;

/** Starts a container that prints `ready`, and waits for that. One that does not end is killed, and then the test fails. */
async function startContainer(command: string, options: readonly string[] = []) {
  const child = startNaiad(['run', ...options, image, `${command}`], naiad.env);
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
    });
  }
  const deadline = setTimeout(() => child.kill('SIGKILL'), CONTAINER_TIMEOUT_MS);
  const exited = (once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>).finally(() =>
    clearTimeout(deadline),
  );
  const said = () => `it said: ${output.stdout}${output.stderr}`;
  await until('the container is ready', () => {
    assert.equal(child.exitCode ?? child.signalCode, null, said());
    return output.stdout.includes('ready\n');
  });
  const ends = async (code: number) => assert.deepEqual(await exited, [code, null], said());
  return { child, exited, ends, output: () => output.stdout };
}

// exec: one process, and no shell that is between two commands when the signal comes.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  const number = constants.signals[signal];
  test(`run: ${signal} ends a command without a handler for it, as outside of a container`, { ...needs }, async () => {
    const { child, ends } = await startContainer('echo ready; exec sleep 1000');
    child.kill(signal);
    await ends(128 + number);
    assertNothingLeft();
  });

  test(`run: ${signal} reaches a command that handles it`, { ...needs }, async () => {
    const { child, ends, output } = await startContainer(
      `trap "echo caught; exit 9" ${number}; echo ready; while true; do sleep 0.05; done`,
    );
    child.kill(signal);
    await ends(9);
    assert.match(output(), /caught/);
    assertNothingLeft();
  });
}

test('run: a command that ignores being asked is killed the third time', { ...needs }, async () => {
  const { child, exited, ends } = await startContainer('trap "" 15; echo ready; while true; do sleep 0.05; done');
  // Two that come while it is not scheduled are one; who asks again later means the same.
  for (let asked = 1; child.exitCode === null && child.signalCode === null; asked++) {
    child.kill('SIGTERM');
    await Promise.race([exited, sleep(asked < 3 ? 100 : 15_000)]);
  }
  await ends(143);
  assertNothingLeft();
});

/** The daemon looks every two seconds. */
const cleaned = () => until('a killed run is cleaned up', () => readdirSync(join(naiad.state, 'runs')).length === 0);

test('run: what a killed one left, the daemon removes', { ...needs }, async () => {
  const { child, exited } = await startContainer('echo ready; sleep 1000');
  assert.notDeepEqual(mountpointsBelow(scratch.path), []);
  child.kill('SIGKILL');
  await exited;
  const { stdout } = await naiad.run(['run', image]);
  assert.equal(stdout, 'default\n');
  await cleaned();
  assertNothingLeft();
});

test('run: after a killed one its container gets errors and does not hang', { ...needs }, async () => {
  // Of the shell alone: other programs cannot be loaded any more. It may die of that itself.
  const script = `echo ready; n=0; while true; do n=$((n+1))
    case "$( (read x < /never-asked-for-$n) 2>&1)" in *"No such"*) ;; *) exit;; esac; done`;
  const { child, exited } = await startContainer(script);
  const containerEnded = once(child.stdout, 'close', { signal: AbortSignal.timeout(CONTAINER_TIMEOUT_MS) });
  child.kill('SIGKILL');
  await exited;
  await containerEnded;
  await cleaned();
  assertNothingLeft();
});

test('run: several at once share the cache and do not disturb each other', { ...needs }, async () => {
  const results = await Promise.all(
    [1, 2, 3].map((number) => naiad.run(['run', '-u', '0', image, `echo ${number} > /n; sleep 0.3; cat /n`])),
  );
  assert.deepEqual(
    results.map(({ stdout }) => stdout),
    ['1\n', '2\n', '3\n'],
  );
  assertNothingLeft();
});

test('run: a terminal where stdin is one', { ...every(needs, program('script')) }, async () => {
  const line = [process.execPath, 'dist/cli/main.js', 'run', '-it', image, '"tty; echo done"'].join(' ');
  const { stdout } = await runTool('script', ['--quiet', '--return', '--command', line, '/dev/null'], {
    env: naiad.env,
  });
  assert.match(stdout, /\/dev\/(pts\/0|console)\s+done/);
  assertNothingLeft();
});

test('run: --stats says what the start took, on stderr or as JSON', { ...needs }, async () => {
  const text = await naiad.run(['run', '--stats', image]);
  assert.equal(text.stdout, 'default\n');
  assert.match(text.stderr, /started after \d+\.\d+ s/);
  const { stdout } = await naiad.run(['run', '--stats', '--json', image]);
  const [, ...json] = stdout.split('\n');
  const stats = JSON.parse(json.join('\n')) as Record<string, number>;
  assert.equal(stats.exitCode, 0);
  assert.equal(stats.fetchedBytes, 0, 'all of it was in the cache');
  await sleep(0);
  assertNothingLeft();
});
