// The built command at its edges: exit codes, what goes to which stream, signals, closed pipes.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { NAIAD, startNaiad } from '../support/naiad.ts';
import { runTool } from '../support/run-tool.ts';
import { temporaryDir } from '../support/temporary.ts';

function naiad(args: readonly string[], okay: readonly number[]) {
  return runTool(process.execPath, [NAIAD, ...args], { okay });
}

const files = temporaryDir('cli');
after(() => files[Symbol.dispose]());
const directory = join(files.path, 'directory');
mkdirSync(directory);
const text = join(files.path, 'text');
writeFileSync(text, 'no bootstrap\n'.repeat(1000));

for (const { line, exit, error, hint } of [
  { line: 'lss', exit: 2, error: 'error[USAGE]: unknown command "lss"', hint: 'hint: Did you mean `naiad ls`?' },
  { line: 'ls', exit: 2, error: 'error[USAGE]: missing <image>', hint: 'hint: Run `naiad ls --help`' },
  { line: 'ls Bad:::ref', exit: 2, error: 'error[REFERENCE_INVALID]: ', hint: 'hint: ' },
  { line: 'ls /nonexistent', exit: 10, error: 'error[PATH_NOT_FOUND]: reading /nonexistent: no such file' },
  {
    line: 'ls oci:/nonexistent:1',
    exit: 10,
    error: 'error[IMAGE_NOT_FOUND]: /nonexistent: there is no such directory',
  },
  { line: `ls ${directory}`, exit: 2, error: 'error[REFERENCE_INVALID]: ', hint: `hint: If it is an OCI layout` },
  { line: `ls ${text}`, exit: 12, error: 'error[BOOTSTRAP_INVALID]: bootstrap: not an EROFS image' },
  { line: 'ls 127.0.0.1:1/x:1', exit: 14, error: 'error[REGISTRY_UNAVAILABLE]: ' },
  { line: `umount ${directory}`, exit: 10, error: 'error[NOT_MOUNTED]: ' },
]) {
  test(`naiad ${line.replace(files.path, '…')} ends with ${exit}, one clear line and a hint`, async () => {
    const { stdout, stderr } = await naiad(line.split(' '), [exit]);
    assert.equal(stdout, '');
    const [first = '', second = ''] = stderr.split('\n');
    assert.ok(first.startsWith(error), stderr);
    if (hint !== undefined) assert.ok(second.startsWith(hint), stderr);
    assert.doesNotMatch(stderr, /^ {4}at /m, 'no stack');
  });
}

test('--json: an error is one object on stderr, whose exit is the exit code', async () => {
  const { stdout, stderr, code } = await naiad(['--json', 'ls', '/nonexistent'], [10]);
  assert.equal(stdout, '');
  assert.deepEqual(JSON.parse(stderr), {
    level: 'error',
    code: 'PATH_NOT_FOUND',
    message: 'reading /nonexistent: no such file or directory (ENOENT)',
    causes: [],
    exit: code,
  });
  const usage = await naiad(['ls', '--json'], [2]);
  assert.equal(JSON.parse(usage.stderr).code, 'USAGE');
});

test('help and version are answers: on stdout, with nothing on stderr', async () => {
  for (const args of [['--help'], ['help'], ['ls', '--help'], ['registry', '--help'], ['--version']]) {
    const { stdout, stderr } = await naiad(args, [0]);
    assert.notEqual(stdout, '', args.join(' '));
    assert.equal(stderr, '', args.join(' '));
  }
});

/** Answers a connection with nothing, so that whoever asks it waits. */
async function silentServer(): Promise<{ port: number; connected: Promise<unknown> } & AsyncDisposable> {
  const server = createServer(() => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const sockets = new Set<import('node:net').Socket>();
  server.on('connection', (socket) => sockets.add(socket.on('error', () => {})));
  const connected = once(server, 'connection');
  const address = server.address();
  assert.ok(address && typeof address === 'object');
  return {
    port: address.port,
    connected,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

for (const { signal, exit } of [
  { signal: 'SIGINT', exit: 130 },
  { signal: 'SIGTERM', exit: 143 },
  { signal: 'SIGHUP', exit: 129 },
] as const) {
  test(`${signal} while a registry does not answer ends with ${exit}`, async () => {
    await using server = await silentServer();
    const child = startNaiad(['inspect', `127.0.0.1:${server.port}/x:1`], process.env);
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (piece: string) => {
      stderr += piece;
    });
    const closed = once(child, 'close');
    await server.connected;
    child.kill(signal);
    const [code] = await closed;
    assert.equal(code, exit, stderr);
    assert.equal(stderr, `error[CANCELED]: interrupted by ${signal}\n`);
  });
}

test('a closed stdout ends the command quietly, with 141', async () => {
  const child = spawn('bash', ['-c', `${process.execPath} ${NAIAD} --help | true; echo "\${PIPESTATUS[0]}"`]);
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    stdout += piece;
  });
  child.stderr.setEncoding('utf8').on('data', (piece: string) => {
    stderr += piece;
  });
  await once(child, 'close');
  assert.equal(stdout, '141\n');
  assert.equal(stderr, '');
});
