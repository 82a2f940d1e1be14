// A registry of the benchmark's own: docker-registry where it is installed, else the embedded one, as a process.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { signalChild } from '../../base/child-process.ts';
import { NaiadError } from '../../base/errors.ts';
import { findProgram } from '../../base/find-program.ts';
import { freePort } from '../free-port.ts';

export interface BenchRegistry extends AsyncDisposable {
  readonly port: number;
  /** `docker-registry` or `naiad registry serve`. */
  readonly what: string;
  /** Brings what it stores into memory: in the field its disk is not this machine's. */
  warm(): void;
}

const COMMAND = fileURLToPath(new URL('../../../cli/main.js', import.meta.url));
const START_WAIT_MS = 20_000;

/** @throws NaiadError COMMAND_FAILED when it does not start */
export async function startBenchRegistry(directory: string): Promise<BenchRegistry> {
  mkdirSync(directory);
  const root = join(directory, 'data');
  const port = await freePort();
  const program = findProgram('docker-registry');
  const child = program ? dockerRegistry(program, directory, root, port) : embedded(root, port);
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-2000);
  });
  const exited = once(child, 'close');
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) signalChild(child, 'SIGKILL');
    await exited;
  };
  const what = program ? 'docker-registry' : 'naiad registry serve';
  try {
    await untilAnswers(`http://127.0.0.1:${port}/v2/`, () => child.exitCode !== null);
  } catch (cause) {
    await stop();
    throw new NaiadError('COMMAND_FAILED', `${what} does not start: ${said.trim()}`, { cause });
  }
  return {
    port,
    what,
    warm: () => readBelow(root),
    [Symbol.asyncDispose]: stop,
  };
}

function dockerRegistry(program: string, directory: string, root: string, port: number): ChildProcess {
  const config = join(directory, 'config.yml');
  const lines = [
    'version: 0.1',
    'log: { level: error, accesslog: { disabled: true } }',
    `storage: { filesystem: { rootdirectory: ${root} }, cache: { blobdescriptor: inmemory } }`,
    `http: { addr: "127.0.0.1:${port}", secret: of-one-run }`,
  ];
  writeFileSync(config, `${lines.join('\n')}\n`);
  return spawn(program, ['serve', config], { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
}

function embedded(root: string, port: number): ChildProcess {
  const args = [COMMAND, 'registry', 'serve', '--root', root, '--listen', `127.0.0.1:${port}`];
  return spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
}

async function untilAnswers(url: string, gone: () => boolean): Promise<void> {
  for (const end = Date.now() + START_WAIT_MS; ; await sleep(20)) {
    try {
      if ((await fetch(url)).ok) return;
    } catch (error) {
      if (gone() || Date.now() > end) throw error;
    }
    if (gone() || Date.now() > end) throw new Error('no answer');
  }
}

function readBelow(directory: string): void {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) readBelow(path);
    else if (entry.isFile()) readFileSync(path);
  }
}
