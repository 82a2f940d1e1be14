// Programs that a benchmark starts: its own command, mkfs, the prober.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { signalChild } from '../base/child-process.ts';
import { throwIfAborted } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';

/** naiad's own command, for Node to run. */
export const NAIAD_COMMAND = fileURLToPath(new URL('../../cli/main.js', import.meta.url));

export interface CommandOptions {
  readonly signal: AbortSignal;
  readonly env?: NodeJS.ProcessEnv;
  /** Exit codes that are not a failure; 0 alone when not given. */
  readonly okay?: readonly number[];
  /** What it is called in messages, when not by its path and first argument. */
  readonly name?: string;
}

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `command` to its end; SIGTERM when `signal` fires. @throws NaiadError COMMAND_FAILED with what it said, CANCELED */
export async function runCommand(
  command: string,
  args: readonly string[],
  { signal, env = process.env, okay = [0], name = `${command} ${args[0] ?? ''}` }: CommandOptions,
): Promise<CommandResult> {
  throwIfAborted(signal);
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env });
  const stop = () => signalChild(child, 'SIGTERM');
  signal.addEventListener('abort', stop);
  try {
    const [stdout, stderr, code] = await Promise.all([
      textOf(child.stdout),
      textOf(child.stderr),
      new Promise<number | null>((resolve, reject) => {
        child.on('error', (cause) => {
          reject(new NaiadError('COMMAND_FAILED', `${command} cannot be run: ${cause.message}`, { cause }));
        });
        child.on('close', resolve);
      }),
    ]);
    throwIfAborted(signal);
    if (code !== null && okay.includes(code)) return { code, stdout, stderr };
    throw new NaiadError('COMMAND_FAILED', `${name} ended with ${code}: ${stderr.trim()}`);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/** Where a naiad that is run keeps its things. */
export interface NaiadPlace {
  readonly state: string;
  readonly cache: string;
}

/** Runs `naiad ARGS` and returns what it prints; its own places when none is given. @throws NaiadError COMMAND_FAILED, CANCELED */
export async function runNaiad(
  args: readonly string[],
  { signal, place }: { readonly signal: AbortSignal; readonly place?: NaiadPlace },
): Promise<string> {
  const own = place && { NAIAD_STATE: place.state, NAIAD_CACHE: place.cache };
  const env = { ...process.env, ...own };
  const name = `naiad ${args[0] ?? ''}`;
  return (await runCommand(process.execPath, [NAIAD_COMMAND, ...args], { signal, env, name })).stdout;
}

async function textOf(stream: AsyncIterable<Buffer>): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}
