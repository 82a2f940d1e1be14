// The only writer of stdout and stderr. stdout carries results; everything else goes to stderr, under --json as one
// object a line.

import { inspect } from 'node:util';
import { type NaiadError, printable } from '../base/errors.ts';
import { LOG_LEVELS, type LogLevel } from '../base/log-levels.ts';
import { formatSize } from '../base/units.ts';
import type { Io, Progress, ProgressState, ProgressUnit } from './command.ts';
import { causesOf, EXIT_STDOUT_CLOSED, reportOf, type StopSignal } from './exit.ts';

export interface OutputOptions {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly logLevel: LogLevel;
}

export class Terminal implements Io {
  readonly signal: AbortSignal;
  readonly #options: OutputOptions;
  #exitCode = 0;
  #bar: ProgressLine | undefined;

  constructor(options: OutputOptions, signal: AbortSignal) {
    this.#options = options;
    this.signal = signal;
  }

  get json(): boolean {
    return this.#options.json;
  }
  get quiet(): boolean {
    return this.#options.quiet;
  }
  get logLevel(): LogLevel {
    return this.#options.logLevel;
  }
  get exitCode(): number {
    return this.#exitCode;
  }

  setExitCode(code: number): void {
    this.#exitCode = code;
  }

  result<T>(value: T, render: (value: T) => string): void {
    this.#bar?.hide();
    const text = this.json ? JSON.stringify(value, undefined, 2) : render(value);
    if (text !== '') process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
  }

  async raw(bytes: Uint8Array): Promise<void> {
    this.#bar?.hide();
    // Waiting for the write keeps the memory bounded, and lets the caller reuse the bytes.
    await new Promise<void>((resolve, reject) => {
      process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
  }

  note(line: string): void {
    if (!this.quiet && this.#shows('info')) this.#say('note', line);
  }

  warn(line: string): void {
    if (this.#shows('warn')) this.#say('warning', line);
  }

  progress(title: string, unit: ProgressUnit = 'bytes'): Progress {
    if (this.quiet || this.json || !this.#shows('info')) return { update: () => {}, [Symbol.dispose]: () => {} };
    const bar = new ProgressLine(printable(title), unit);
    this.#bar = bar;
    return {
      update: (state) => bar.update(state),
      [Symbol.dispose]: () => {
        bar.end();
        if (this.#bar === bar) this.#bar = undefined;
      },
    };
  }

  /** Says what went wrong and how to go on. Of a bug, and under `--log-level debug`, the stack too. */
  error(error: NaiadError, stop?: StopSignal): void {
    this.#bar?.hide();
    if (this.json) {
      process.stderr.write(`${JSON.stringify(reportOf(error, stop))}\n`);
      return;
    }
    const lines = [`${emphasis('error')}[${error.code}]: ${error.message}`];
    if (error.hint !== undefined) lines.push(`hint: ${printable(error.hint)}`);
    for (const cause of causesOf(error)) lines.push(`cause: ${printable(cause)}`);
    if (error.kind === 'bug')
      lines.push('This is a defect of naiad. Please report it with the command and this stack:');
    if (error.kind === 'bug' || this.#shows('debug')) lines.push(inspect(error.cause ?? error));
    process.stderr.write(`${lines.join('\n')}\n`);
  }

  #shows(level: LogLevel): boolean {
    return LOG_LEVELS.indexOf(level) <= LOG_LEVELS.indexOf(this.#options.logLevel);
  }

  #say(level: 'note' | 'warning', line: string): void {
    this.#bar?.hide();
    const message = printable(line);
    if (this.json) process.stderr.write(`${JSON.stringify({ level, message })}\n`);
    else process.stderr.write(level === 'warning' ? `${emphasis('warning')}: ${message}\n` : `${message}\n`);
  }
}

function emphasis(word: string): string {
  return process.stderr.isTTY && !process.env.NO_COLOR ? `\u001b[1;31m${word}\u001b[0m` : word;
}

const REDRAW_MS = 100;
/** Logs of CI jobs: seldom enough not to drown them, often enough to see that something moves. */
const LINE_EVERY_MS = 10_000;
const BAR_WIDTH = 24;

/** A bar that is redrawn in place on a terminal; a line now and then where stderr is a file or a pipe. */
class ProgressLine {
  readonly #title: string;
  readonly #unit: ProgressUnit;
  readonly #startMs = performance.now();
  #state: ProgressState = { done: 0 };
  #drawnMs = 0;
  #visible = false;

  constructor(title: string, unit: ProgressUnit) {
    this.#title = title;
    this.#unit = unit;
    this.#drawnMs = process.stderr.isTTY ? 0 : this.#startMs;
  }

  update(state: ProgressState): void {
    this.#state = state;
    const now = performance.now();
    if (now - this.#drawnMs < (process.stderr.isTTY ? REDRAW_MS : LINE_EVERY_MS)) return;
    this.#drawnMs = now;
    if (process.stderr.isTTY) {
      process.stderr.write(`\r${this.#line().slice(0, (process.stderr.columns ?? 80) - 1)}\u001b[K`);
      this.#visible = true;
    } else {
      process.stderr.write(`${this.#line()}\n`);
    }
  }

  hide(): void {
    if (this.#visible) process.stderr.write('\r\u001b[K');
    this.#visible = false;
    // The next update draws it again at once.
    if (process.stderr.isTTY) this.#drawnMs = 0;
  }

  end(): void {
    this.hide();
    this.#drawnMs = Number.POSITIVE_INFINITY;
  }

  #line(): string {
    const { done, total, text } = this.#state;
    const amount = (value: number) => (this.#unit === 'bytes' ? formatSize(value) : `${value}`);
    const parts: string[] = [];
    if (total !== undefined && total > 0) {
      const share = Math.min(1, done / total);
      const filled = Math.round(share * BAR_WIDTH);
      if (process.stderr.isTTY) parts.push(`[${'#'.repeat(filled)}${'.'.repeat(BAR_WIDTH - filled)}]`);
      parts.push(`${Math.floor(share * 100)}%`.padStart(4), `${amount(done)} of ${amount(total)}`);
    } else {
      parts.push(amount(done));
    }
    const seconds = (performance.now() - this.#startMs) / 1000;
    if (this.#unit === 'bytes' && seconds > 1) parts.push(`${formatSize(Math.round(done / seconds))}/s`);
    // Last, for where the line is cut: the numbers are what changes.
    parts.push(this.#title);
    if (text !== undefined) parts.push(printable(text));
    return parts.join('  ');
  }
}

/**
 * Ends the work when the reader of stdout is gone (`naiad ls | head`): the command's cleanup runs, and nothing is said.
 * Returns the exit code for that case, or undefined while all is well.
 */
export function watchStdout(abort: (reason: unknown) => void): () => number | undefined {
  let closed = false;
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') closed = true;
    abort(error);
  });
  // Nothing can be said there any more, and that is no reason to die.
  process.stderr.on('error', () => {});
  return () => (closed ? EXIT_STDOUT_CLOSED : undefined);
}
