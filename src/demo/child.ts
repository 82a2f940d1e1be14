// Programs the demo starts. Each is in a process group of its own: Ctrl-C on a terminal reaches the demo alone, which ends
// them one by one and waits for them.
import { type ChildProcess, spawn } from 'node:child_process';
import { signalChild } from '../base/child-process.ts';
import { throwIfAborted } from '../base/concurrency.ts';
import { CODES, type Code, NaiadError } from '../base/errors.ts';
import { systemError } from '../base/system-error.ts';

export interface ProgramOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly signal?: AbortSignal | undefined;
  /** Sent when `signal` fires; SIGTERM when left out. */
  readonly stopWith?: NodeJS.Signals;
  /** Given to the program as its stdin; nothing when left out. */
  readonly input?: ((stdin: NodeJS.WritableStream) => Promise<void>) | undefined;
  /** Exit code and output of a failure, as the error to throw instead of COMMAND_FAILED. */
  readonly failure?: (stderr: string) => NaiadError | undefined;
}

export interface ProgramResult {
  readonly stdout: string;
  readonly stderr: string;
  /** When the first byte of stdout arrived, on the clock of performance.now(); undefined when none did. */
  readonly firstOutputMs: number | undefined;
}

/** Programs here print a line or a JSON document. */
const OUTPUT_SIZE_MAX = 16 * 1024 * 1024;

/**
 * Runs a program to its end; it is gone when this returns, however it went.
 * @throws NaiadError COMMAND_FAILED with what it said, CANCELED after `signal`
 */
export async function runProgram(
  command: string,
  args: readonly string[],
  options: ProgramOptions = {},
): Promise<ProgramResult> {
  const { signal, input, stopWith = 'SIGTERM' } = options;
  throwIfAborted(signal);
  const stdin = input ? 'pipe' : 'ignore';
  const child = spawn(command, args, {
    stdio: [stdin, 'pipe', 'pipe'],
    detached: true,
    ...(options.env && { env: options.env }),
  });
  const stop = () => signalChild(child, stopWith);
  signal?.addEventListener('abort', stop, { once: true });
  try {
    const ended = outcomeOf(child, command);
    const [outcome, fed] = await Promise.allSettled([ended, child.stdin && input ? input(child.stdin) : undefined]);
    throwIfAborted(signal);
    if (outcome.status === 'rejected') throw outcome.reason;
    const { code, ...result } = outcome.value;
    if (code === 0 && fed.status === 'rejected') throw fed.reason;
    if (code === 0) return result;
    const own = options.failure?.(result.stderr);
    throw (
      own ??
      new NaiadError('COMMAND_FAILED', `${command} ${args.join(' ')}: ended with ${code}: ${result.stderr.trim()}`)
    );
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}

function outcomeOf(child: ChildProcess, command: string): Promise<ProgramResult & { code: number | string }> {
  return new Promise((resolve, reject) => {
    const output = { stdout: '', stderr: '' };
    let firstOutputMs: number | undefined;
    for (const name of ['stdout', 'stderr'] as const) {
      child[name]?.setEncoding('utf8').on('data', (text: string) => {
        if (name === 'stdout') firstOutputMs ??= performance.now();
        if (output[name].length < OUTPUT_SIZE_MAX) output[name] += text;
      });
    }
    child.once('error', (error) => {
      const hint = `The demo needs ${command}; install it, or put it on PATH.`;
      try {
        reject(systemError(error, `starting ${command}`, hint));
      } catch (other) {
        reject(other);
      }
    });
    child.once('close', (code, signal) =>
      resolve({ ...output, firstOutputMs, code: code ?? signal ?? 'no exit code' }),
    );
  });
}

/** The error that `naiad --json` reported on stderr. */
export function reportedError(stderr: string): NaiadError | undefined {
  for (const line of stderr.split('\n').reverse()) {
    const report = parsedObject(line);
    if (report?.level !== 'error' || typeof report.code !== 'string' || !(report.code in CODES)) continue;
    const hint = typeof report.hint === 'string' ? report.hint : undefined;
    return new NaiadError(report.code as Code, String(report.message), { ...(hint !== undefined && { hint }) });
  }
  return undefined;
}

function parsedObject(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}
