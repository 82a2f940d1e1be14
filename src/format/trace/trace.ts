// What a start touches of an image, in the order in which it does: the trace file, JSON Lines with a header first.
// docs/format/trace.md describes it. Lists of paths are read as traces as well: see path-list.ts.
import type { ByteString } from '../../base/bytes.ts';
import { NaiadError } from '../../base/errors.ts';
import {
  SYMLINK_SIZE_MAX,
  TRACE_RUNS_MAX,
  TRACE_SIZE_MAX,
  TRACE_TIME_MAX_MS,
  TRACE_TOUCHES_MAX,
} from '../../base/limits.ts';
import { runSteps, type Steps } from '../../base/steps.ts';
import { digestComplaint } from '../oci/digest.ts';
import { Complaint, JsonReader } from '../oci/json-reader.ts';
import { parsePathText, pathText } from './path-text.ts';

/** The first touch of one chunk; of a whole file or directory where a list of paths names it. */
export interface Touch {
  /** From the root, `/usr/bin/env`; empty where it is not known. Of several links to a file, any. */
  readonly path: ByteString;
  /** Bytes of the file that the chunk holds. No size: to the end of the file, or all files below the directory. */
  readonly offset: number;
  readonly size?: number | undefined;
  /** `blake3:` or `sha256:` and 64 hex digits: the digest of the chunk's uncompressed bytes. */
  readonly chunk?: string | undefined;
  /** Since the mount could be used. */
  readonly atMs: number;
  /** How long the reader waited for a fetch; 0 when the bytes were there. */
  readonly waitMs: number;
  /** In how many of the trace's runs it was touched. */
  readonly runs: number;
}

export interface Trace {
  /** Digest of the manifest of the image it was recorded of. */
  readonly image?: string | undefined;
  /** As whoever recorded it named the image; for people only. */
  readonly reference?: string | undefined;
  /** Recordings that went into it. */
  readonly runs: number;
  /** When the application was ready, where somebody looked; of several runs the median. */
  readonly readyMs?: number | undefined;
  /** True when there was more than a recording holds. */
  readonly cut?: boolean | undefined;
  /** In the order in which they are wanted. */
  readonly touches: readonly Touch[];
}

const TRACE_FORMAT = 'naiad-trace';
const VERSION = 1;
const CHUNK_DIGEST = /^(blake3|sha256):[0-9a-f]{64}$/;

/** The bytes of a trace file: the same for the same trace, whoever writes it. */
export function formatTrace(trace: Trace): Uint8Array {
  const { image, reference, runs, readyMs, cut, touches } = trace;
  const header = {
    ...{ format: TRACE_FORMAT, version: VERSION, touches: touches.length, image, reference, runs },
    ...(readyMs !== undefined && { ready: rounded(readyMs) }),
    ...(cut && { cut }),
  };
  const lines = touches.map(({ path, offset, size, chunk, atMs, waitMs, runs: seen }) =>
    JSON.stringify({
      at: rounded(atMs),
      ...(waitMs > 0 && { wait: rounded(waitMs) }),
      ...(path !== '' && { path: pathText(path) }),
      ...(offset > 0 && { offset }),
      ...(size !== undefined && { size }),
      ...(chunk !== undefined && { chunk }),
      ...(seen !== 1 && { runs: seen }),
    }),
  );
  return Buffer.from(`${[JSON.stringify(header), ...lines].join('\n')}\n`);
}

/** Microseconds are what a clock tells. */
function rounded(milliseconds: number): number {
  return Math.round(milliseconds * 1000) / 1000;
}

/** True when `bytes` begin as a trace file does. */
export function isTraceFile(bytes: Uint8Array): boolean {
  const head = Buffer.from(bytes.subarray(0, HEAD_SIZE)).toString('latin1');
  return /^\s*\{\s*"format"\s*:\s*"naiad-trace"/.test(head);
}

const HEAD_SIZE = 256;

/**
 * Reads a trace file.
 * @throws NaiadError TRACE_INVALID naming the line, TRACE_UNSUPPORTED for another version, LIMIT_EXCEEDED
 */
export function parseTraceFile(bytes: Uint8Array): Trace {
  return runSteps(parseTraceSteps(bytes));
}

/** `parseTraceFile` in steps. */
export function* parseTraceSteps(bytes: Uint8Array): Steps<Trace> {
  if (bytes.length > TRACE_SIZE_MAX) throw tooLong(`${bytes.length} bytes`, `${TRACE_SIZE_MAX}`);
  let line = 1;
  try {
    const lines = linesOf(bytes);
    const header = readHeader(JsonReader.parse(lines.next().value ?? new Uint8Array(), 'the header'));
    const touches: Touch[] = [];
    for (const text of lines) {
      if (++line % LINES_A_STEP === 0) yield;
      if (touches.length === header.count) throw new Complaint(`more than the ${header.count} touches of the header`);
      touches.push(readTouch(JsonReader.parse(text, 'a touch'), header.trace.runs));
    }
    if (touches.length !== header.count) {
      throw new Complaint(`the trace ends after ${touches.length} of ${header.count} touches`);
    }
    return { ...header.trace, touches };
  } catch (error) {
    if (!(error instanceof Complaint)) throw error;
    const code = error.code === 'MANIFEST_INVALID' ? 'TRACE_INVALID' : error.code;
    throw new NaiadError(code, `trace, line ${line}: ${error.message}`);
  }
}

function* linesOf(bytes: Uint8Array): Generator<Uint8Array, undefined> {
  for (let start = 0; start < bytes.length; ) {
    const newline = bytes.indexOf(NEWLINE, start);
    const end = newline < 0 ? bytes.length : newline;
    if (end > start) yield bytes.subarray(start, end);
    start = end + 1;
  }
}

const NEWLINE = 10;
const LINES_A_STEP = 500;

function readHeader(header: JsonReader): { readonly trace: Omit<Trace, 'touches'>; readonly count: number } {
  if (header.string('format') !== TRACE_FORMAT) throw new Complaint('no header of a trace');
  const version = header.size('version');
  if (version !== VERSION) {
    throw new NaiadError('TRACE_UNSUPPORTED', `a trace of version ${version}; this naiad reads ${VERSION}`, {
      hint: 'Record it again, or use the naiad that wrote it.',
    });
  }
  const count = header.size('touches');
  if (count > TRACE_TOUCHES_MAX) throw tooLong(`${count} touches`, `${TRACE_TOUCHES_MAX}`);
  const { image, reference } = header.optionalStrings('image', 'reference');
  const complaint = image === undefined ? undefined : digestComplaint(image);
  if (complaint !== undefined) throw new Complaint(`image: ${complaint}`);
  const runs = header.size('runs');
  if (runs < 1 || runs > TRACE_RUNS_MAX) throw new Complaint(`runs must be from 1 to ${TRACE_RUNS_MAX}`);
  const readyMs = header.optionalNumber('ready', TRACE_TIME_MAX_MS);
  return {
    count,
    trace: { image, reference, runs, readyMs, ...(header.value.cut === true && { cut: true }) },
  };
}

function readTouch(touch: JsonReader, runsMax: number): Touch {
  const { path: text = '', chunk } = touch.optionalStrings('path', 'chunk');
  const path = text === '' ? '' : parsePathText(text);
  if (path === undefined) throw new Complaint('path must be absolute, without . or .. or empty names');
  if (path.length > SYMLINK_SIZE_MAX) throw new Complaint(`a path of ${path.length} bytes`);
  if (chunk !== undefined && !CHUNK_DIGEST.test(chunk)) throw new Complaint('chunk must be blake3:HEX or sha256:HEX');
  const size = touch.optionalNumber('size', Number.MAX_SAFE_INTEGER);
  if (chunk === undefined ? path === '' : size === undefined) {
    throw new Complaint('a touch names a chunk and its size, or a path');
  }
  const offset = touch.optionalNumber('offset', Number.MAX_SAFE_INTEGER) ?? 0;
  const runs = touch.optionalNumber('runs', runsMax) ?? 1;
  if (![size ?? 0, offset, offset + (size ?? 0), runs].every(Number.isSafeInteger) || runs < 1) {
    throw new Complaint('offset, size and runs must be whole numbers');
  }
  return {
    ...{ path, offset, size, chunk, runs },
    atMs: touch.optionalNumber('at', TRACE_TIME_MAX_MS) ?? 0,
    waitMs: touch.optionalNumber('wait', TRACE_TIME_MAX_MS) ?? 0,
  };
}

/** The failure of a trace beyond its bounds. */
export function tooLong(found: string, most: string): NaiadError {
  return new NaiadError('LIMIT_EXCEEDED', `a trace of ${found}; at most ${most} are read`);
}
