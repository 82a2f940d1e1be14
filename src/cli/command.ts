// What a command is: flags, one call, one rendering. Bodies import what they need when they run, because `naiad inspect`
// must not pay for loading the converter.
import type { Argv } from 'yargs';
import type { LogLevel } from '../base/log-levels.ts';

/** How a command talks to the world. Nothing else prints. */
export interface Io {
  /** Fires on SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly logLevel: LogLevel;
  /** The result on stdout: `value` as JSON under --json, else the text. */
  result<T>(value: T, render: (value: T) => string): void;
  /** Bytes on stdout as they are (`cat`). */
  raw(bytes: Uint8Array): Promise<void>;
  /** One line on stderr, not shown under --quiet. */
  note(line: string): void;
  /** A warning on stderr, shown always. */
  warn(line: string): void;
  /** Progress of long work: a bar on a terminal, plain lines elsewhere, nothing under --quiet or --json. */
  progress(title: string, unit?: ProgressUnit): Progress;
  /** Ends the process with this code once the command has returned (a container's exit code). */
  setExitCode(code: number): void;
}

/** What is counted; bytes when nothing is said. */
export type ProgressUnit = 'bytes' | 'items';

export interface ProgressState {
  readonly done: number;
  /** May grow while work is found. */
  readonly total?: number | undefined;
  readonly text?: string | undefined;
}

export interface Progress extends Disposable {
  update(state: ProgressState): void;
}

/** `Args` is what `options` adds to the parser, camelCase keys, as yargs infers it. */
export interface Command<Args extends object = object> {
  /** As yargs writes it: `convert <source> <target>`; begins with the command's name. */
  readonly usage: string;
  readonly summary: string;
  /** True when all after the first argument is another program's command line (`run <image> [cmd..]`): no option of
   *  ours is looked for there. */
  readonly passThrough?: boolean;
  /** Pairs of a command line and what it does. */
  readonly examples: readonly (readonly [string, string])[];
  options(parser: Argv): Argv<Args>;
  run(args: Args, io: Io): Promise<void>;
}

/** Checks `run` against what `options` declares, and gives the command as the table of commands keeps it. */
export function defineCommand<Args extends object>(command: Command<Args>): Command {
  return command as unknown as Command;
}
