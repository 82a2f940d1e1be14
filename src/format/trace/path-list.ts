// Lists of paths as traces: one path a line, as people and Nydus' builder write them, or the JSON of Nydus' optimizer with
// ranges of files. The order of the list is the order in which the files are wanted.
import { type ByteString, bytesToString, utf8ToByteString } from '../../base/bytes.ts';
import { NaiadError } from '../../base/errors.ts';
import { SYMLINK_SIZE_MAX, TRACE_SIZE_MAX, TRACE_TOUCHES_MAX } from '../../base/limits.ts';
import { runSteps, type Steps } from '../../base/steps.ts';
import { Complaint, JsonReader } from '../oci/json-reader.ts';
import { isCleanPath } from './path-text.ts';
import { isTraceFile, parseTraceSteps, type Touch, type Trace, tooLong } from './trace.ts';

/**
 * Reads a trace file, a list of paths, or a Nydus prefetch list: the first bytes tell which.
 * @throws NaiadError TRACE_INVALID, TRACE_UNSUPPORTED, LIMIT_EXCEEDED
 */
export function parseTrace(bytes: Uint8Array): Trace {
  return runSteps(parseSteps(bytes));
}

/** `parseTrace` in steps; a list of paths is one. */
export function* parseSteps(bytes: Uint8Array): Steps<Trace> {
  if (bytes.length > TRACE_SIZE_MAX) throw tooLong(`${bytes.length} bytes`, `${TRACE_SIZE_MAX}`);
  if (isTraceFile(bytes)) return yield* parseTraceSteps(bytes);
  const start = bytes.findIndex((byte) => !WHITESPACE.has(byte));
  return bytes[start] === OPEN_BRACE ? parseNydusJson(bytes) : parsePathList(bytes);
}

const WHITESPACE = new Set([9, 10, 13, 32]);
const OPEN_BRACE = 0x7b;

/** One path a line; empty lines and those that start with `#` are passed over. */
function parsePathList(bytes: Uint8Array): Trace {
  const touches: Touch[] = [];
  for (const [index, raw] of bytesToString(bytes).split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const path = cleaned(line);
    if (path === undefined) {
      throw new NaiadError('TRACE_INVALID', `list of paths, line ${index + 1}: no path from the root of the image`, {
        hint: 'A trace is a file of "naiad trace record", or a list of paths that start with /, one a line.',
      });
    }
    touches.push(pathTouch(path));
    if (touches.length > TRACE_TOUCHES_MAX)
      throw tooLong(`more than ${TRACE_TOUCHES_MAX} paths`, `${TRACE_TOUCHES_MAX}`);
  }
  if (touches.length === 0) throw new NaiadError('TRACE_INVALID', 'the list names no path');
  return { runs: 1, touches };
}

/** `{"version": "v1", "files": [{"path": "/bin/sh", "ranges": [[0, 4096]] or null}]}` */
function parseNydusJson(bytes: Uint8Array): Trace {
  try {
    const document = JsonReader.parse(bytes, 'the list');
    const touches: Touch[] = [];
    for (const file of document.objects('files', TRACE_TOUCHES_MAX, 'files')) {
      const path = cleaned(utf8ToByteString(file.string('path')));
      if (path === undefined) throw new Complaint('a path that does not start at the root of the image');
      for (const range of rangesOf(file)) touches.push(pathTouch(path, range));
      if (touches.length > TRACE_TOUCHES_MAX) throw tooLong('more ranges', `${TRACE_TOUCHES_MAX}`);
    }
    return { runs: 1, touches };
  } catch (error) {
    if (!(error instanceof Complaint)) throw error;
    const code = error.code === 'MANIFEST_INVALID' ? 'TRACE_INVALID' : error.code;
    throw new NaiadError(code, `Nydus prefetch list: ${error.message}`);
  }
}

type Range = Pick<Touch, 'offset' | 'size'>;

/** All of the file where no ranges are given. */
function rangesOf(file: JsonReader): Range[] {
  const { ranges } = file.value;
  if (ranges === undefined || ranges === null) return [{ offset: 0 }];
  if (!Array.isArray(ranges) || ranges.length > TRACE_TOUCHES_MAX) throw new Complaint('ranges must be a list');
  return ranges.map((range: unknown) => {
    const [offset, size, ...more] = Array.isArray(range) ? (range as unknown[]) : [];
    const isWhole = [offset, size].every((one) => typeof one === 'number' && Number.isSafeInteger(one) && one >= 0);
    if (!isWhole || more.length > 0 || !Number.isSafeInteger((offset as number) + (size as number))) {
      throw new Complaint('a range must be [offset, size]');
    }
    return { offset: offset as number, size: size as number };
  });
}

/** Absolute, without a slash at its end; undefined for what is no such path. */
function cleaned(path: ByteString): ByteString | undefined {
  const absolute = path.replace(/^\.\//, '/').replace(/\/{2,}/g, '/');
  const bare = absolute.length > 1 ? absolute.replace(/\/$/, '') : absolute;
  return bare.length <= SYMLINK_SIZE_MAX && isCleanPath(bare) ? bare : undefined;
}

function pathTouch(path: ByteString, { offset, size }: Range = { offset: 0 }): Touch {
  return { path, offset, size, atMs: 0, waitMs: 0, runs: 1 };
}
