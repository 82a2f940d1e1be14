// Other people's programs in tests: run to the end, with everything they said in the error when they fail.
import { spawn } from 'node:child_process';

export interface ToolResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ToolOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string | Uint8Array;
  /** Exit codes that are not a failure; 0 alone when not given. */
  readonly okay?: readonly number[];
  /** Killed (SIGKILL) after this long; five minutes when not given, which is for machines that are busy. */
  readonly timeoutMs?: number;
}

/** How long after the command its output may stay open, which others may hold. */
const OUTPUT_TIMEOUT_MS = 30_000;

/**
 * Runs `command` to its end without blocking this process, which may serve what the command asks for.
 * @throws Error with the output when the exit code is not one of `okay`.
 */
export function runTool(command: string, args: readonly string[], options: ToolOptions = {}): Promise<ToolResult> {
  const { cwd, env = process.env, input, okay = [0], timeoutMs = 300_000 } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env, timeout: timeoutMs, killSignal: 'SIGKILL' });
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        output[name] += text;
      });
    }
    child.on('error', reject);
    let held: NodeJS.Timeout | undefined;
    child.on('exit', () => {
      held = setTimeout(() => {
        for (const name of ['stdout', 'stderr'] as const) child[name].destroy();
        reject(
          new Error(`${command} ${args.join(' ')}: ended, and its output did not\n${output.stderr}${output.stdout}`),
        );
      }, OUTPUT_TIMEOUT_MS);
    });
    child.on('close', (code, signal) => {
      clearTimeout(held);
      if (code !== null && okay.includes(code)) resolve({ code, ...output });
      else reject(new Error(`${command} ${args.join(' ')}: ${signal ?? code}\n${output.stderr}${output.stdout}`));
    });
    // A program that ends without reading its input is no failure of ours.
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}
