// The edge: command line in, exit code out. Signals abort the command, which cleans up and ends; a second one kills.
import { setMaxListeners } from 'node:events';
import { canceled, exitCodeOf, STOP_SIGNALS, type StopSignal, toNaiadError } from './exit.ts';
import { guessOutput, parseCommandLine } from './parser.ts';
import { Terminal, watchStdout } from './render.ts';

/** Runs the command that `argv` (without node and script) asks for, and ends the process. */
export async function main(argv: readonly string[]): Promise<never> {
  const stop = new AbortController();
  // Each request in flight listens; their number is bounded elsewhere.
  setMaxListeners(0, stop.signal);
  const stoppedBy = watchSignals(stop);
  const stdoutClosed = watchStdout((reason) => stop.abort(reason));
  let terminal = new Terminal(guessOutput(argv), stop.signal);
  const fail = (thrown: unknown): number => {
    const closed = stdoutClosed();
    if (closed !== undefined) return closed;
    const error = toNaiadError(thrown, stoppedBy());
    terminal.error(error, stoppedBy());
    return exitCodeOf(error, stoppedBy());
  };
  // What escapes every promise is a bug, and says so as one.
  process.on('uncaughtException', (error) => process.exit(fail(error)));
  let exit: number;
  try {
    const invocation = await parseCommandLine(argv);
    if (invocation.kind === 'text') {
      process.stdout.write(`${invocation.text}\n`);
      exit = invocation.exit;
    } else {
      const { output } = invocation;
      if (output.logLevel === 'trace') process.env.NAIAD_TRACE_HTTP ??= output.json ? 'json' : '1';
      terminal = new Terminal(output, stop.signal);
      await invocation.command.run(invocation.args, terminal);
      exit = terminal.exitCode;
    }
  } catch (error) {
    exit = fail(error);
  }
  // An explicit end: sockets that are kept alive for a next request must not hold up the caller.
  await Promise.all([flush(process.stdout), flush(process.stderr)]);
  process.exit(stdoutClosed() ?? exit);
}

/** Within this time after the first, further signals are taken for its echo. */
const SIGNAL_ECHO_MS = 500;

function watchSignals(stop: AbortController): () => StopSignal | undefined {
  let received: StopSignal | undefined;
  let receivedAt = 0;
  for (const name of STOP_SIGNALS) {
    process.on(name, () => {
      if (received !== undefined) {
        // One Ctrl-C can come twice: from the terminal, and passed on by npm. A person's second is later.
        if (performance.now() - receivedAt < SIGNAL_ECHO_MS) return;
        process.removeAllListeners(name);
        process.kill(process.pid, name);
        return;
      }
      received = name;
      receivedAt = performance.now();
      stop.abort(canceled(name));
    });
  }
  return () => received;
}

function flush(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed) resolve();
    else stream.write('', () => resolve());
  });
}
