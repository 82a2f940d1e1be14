// From whatever was thrown to an exit code and to what is said about it.
import { constants } from 'node:os';
import { hasCode, KINDS, NaiadError } from '../base/errors.ts';
import { isSystemError, systemError } from '../base/system-error.ts';

/** The reader of stdout went away: as a shell reports a program that SIGPIPE ended. */
export const EXIT_STDOUT_CLOSED = 128 + constants.signals.SIGPIPE;

/** Signals that ask naiad to stop. The second one stops it at once. */
export const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
export type StopSignal = (typeof STOP_SIGNALS)[number];

/** As JSON reports an error; docs/reference/errors.md shows it. */
export interface ErrorReport {
  readonly level: 'error';
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
  readonly causes: readonly string[];
  readonly exit: number;
}

/** `error` as one of ours: system errors by their errno, everything else is a bug. */
export function toNaiadError(error: unknown, stop?: StopSignal): NaiadError {
  // Ctrl-C on a terminal reaches the programs that we started as well: how they end is no failure of theirs.
  if (stop && hasCode(error, 'COMMAND_FAILED')) return canceled(stop);
  if (error instanceof NaiadError) return error;
  // Libraries end an aborted operation with errors of their own.
  if (stop && error instanceof Error && (error.name === 'AbortError' || isAbortCode(error))) return canceled(stop);
  if (isSystemError(error)) {
    const { syscall, path } = error;
    return systemError(error, [syscall ?? 'system call', path].filter((part) => part !== undefined).join(' '));
  }
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return new NaiadError('BUG', message, { cause: error });
}

export function canceled(stop: StopSignal): NaiadError {
  return new NaiadError('CANCELED', `interrupted by ${stop}`);
}

/** The exit code by the kind of `error`; one that a signal caused ends as shells expect (130, 143). */
export function exitCodeOf(error: NaiadError, stop?: StopSignal): number {
  if (error.kind === 'canceled' && stop) return 128 + constants.signals[stop];
  return KINDS[error.kind].exit;
}

export function reportOf(error: NaiadError, stop?: StopSignal): ErrorReport {
  return {
    level: 'error',
    code: error.code,
    message: error.message,
    ...(error.hint !== undefined && { hint: error.hint }),
    causes: causesOf(error),
    exit: exitCodeOf(error, stop),
  };
}

/** Messages of the causes, outermost first, without those that a message before them repeats already. */
export function causesOf(error: NaiadError): string[] {
  const said: string[] = [error.message];
  const walk = (cause: unknown, depth: number): void => {
    if (cause === undefined || depth > CAUSE_DEPTH_MAX) return;
    // The first line: Node adds stacks of what required what.
    const [message = ''] = (cause instanceof Error ? cause.message : String(cause)).split('\n');
    const repeated = said.some((text) => text.includes(isSystemError(cause) ? `(${cause.code})` : message));
    if (message !== '' && !repeated) said.push(message);
    if (cause instanceof AggregateError) for (const one of cause.errors) walk(one, depth + 1);
    if (cause instanceof Error) walk(cause.cause, depth + 1);
  };
  walk(error.cause, 0);
  return said.slice(1);
}

const CAUSE_DEPTH_MAX = 8;

function isAbortCode(error: Error): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ABORT_ERR' || code === 'UND_ERR_ABORTED';
}
