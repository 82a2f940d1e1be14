// What a daemon did, one JSON object a line (pino), in a file of bounded size or on standard error.
import { closeSync, openSync, renameSync, statSync, writeSync } from 'node:fs';
import pino from 'pino';
import type { LogLevel } from '../base/log-levels.ts';

export type Log = pino.Logger;

export const LOG_FORMATS = ['json', 'text'] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

/** The file and one older one. */
const LOG_SIZE_MAX = 4 * 1024 * 1024;
const STDERR = 2;

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** Standard error when left out. */
  readonly file?: string | undefined;
}

export function openLog({ level, format, file }: LogOptions): Log {
  const write = file === undefined ? (line: string) => writeFully(STDERR, line) : boundedFile(file);
  const settings: pino.LoggerOptions = {
    level,
    base: { pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    // Nothing that is logged has these today; a field added tomorrow must not bring a secret along.
    redact: { paths: ['password', 'token', 'authorization', '*.password', '*.token', '*.authorization'], remove: true },
  };
  return pino(settings, { write: format === 'json' ? write : (line) => write(textOf(line)) });
}

/** `2026-11-21T07:00:00.000Z warn  message key=value`. */
export function textOf(line: string): string {
  const { time, level, msg, pid: _pid, ...rest } = JSON.parse(line) as Record<string, unknown>;
  const fields = Object.entries(rest).map(
    ([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  return `${[time, String(level).padEnd(5), msg, ...fields].join(' ')}\n`;
}

/** Appends to `path`; what grows too large is renamed to `path.1`, in place of the one before. */
function boundedFile(path: string): (line: string) => void {
  let fd = openSync(path, 'a', 0o600);
  let size = statSync(path).size;
  return (line) => {
    if (size > LOG_SIZE_MAX) {
      renameSync(path, `${path}.1`);
      closeSync(fd);
      fd = openSync(path, 'a', 0o600);
      size = 0;
    }
    size += writeFully(fd, line);
  };
}

/** A log that cannot be written is no reason to stop serving. */
function writeFully(fd: number, line: string): number {
  try {
    return writeSync(fd, line);
  } catch {
    return 0;
  }
}
