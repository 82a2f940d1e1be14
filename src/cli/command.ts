// What a command is: flags, one call, one rendering. Bodies import what they need when they run, because `naiad inspect`
// must not pay for loading the converter.
import type { Argv } from 'yargs';

/** How a command talks to the world. Nothing else prints. */
export interface Io {
  /** Fires on SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
  readonly json: boolean;
  readonly quiet: boolean;
  /** The result on stdout: `value` as JSON under --json, else the text. */
  result<T>(value: T, render: (value: T) => string): void;
  /** Bytes on stdout as they are (`cat`). */
  raw(bytes: Uint8Array): Promise<void>;
  /** One line on stderr, not shown under --quiet. */
  note(line: string): void;
  /** A warning on stderr, shown always. */
  warn(line: string): void;
  /** Progress of long work: a bar on a terminal, plain lines elsewhere, nothing under --quiet or --json. */
  progress(title: string): Progress;
  /** Ends the process with this code once the command has returned (a container's exit code). */
  setExitCode(code: number): void;
}

export interface Progress extends Disposable {
  /** Total may grow while work is found. Units are bytes unless the title says otherwise. */
  update(state: { readonly done: number; readonly total?: number; readonly text?: string }): void;
}

/** `Args` is what `options` adds to the parser, camelCase keys, as yargs infers it. */
export interface Command<Args extends object = object> {
  /** As yargs writes it: `convert <source> <target>`. */
  readonly usage: string;
  readonly summary: string;
  /** Pairs of a command line and what it does. */
  readonly examples: readonly (readonly [string, string])[];
  options(parser: Argv): Argv<Args>;
  run(args: Args, io: Io): Promise<void>;
}

/** Keeps the argument type of `options` and `run` in step. */
export function defineCommand<Args extends object>(command: Command<Args>): Command<Args> {
  return command;
}
