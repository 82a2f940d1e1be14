// Traces in files: plain or compressed with zstd or gzip, ours or a list of paths.
import { createReadStream } from 'node:fs';
import { hasCode, NaiadError } from '../base/errors.ts';
import { TRACE_SIZE_MAX } from '../base/limits.ts';
import { runInTurns } from '../base/steps.ts';
import { systemError } from '../base/system-error.ts';
import { decompressStream } from '../codec/stream.ts';
import { parseSteps } from '../format/trace/path-list.ts';
import { type Trace, tooLong } from '../format/trace/trace.ts';
import { mergeTraces } from './merge.ts';

/** @throws NaiadError TRACE_INVALID, TRACE_UNSUPPORTED, LIMIT_EXCEEDED, ARCHIVE_INVALID, PATH_NOT_FOUND, IO */
export async function readTrace(file: string, signal?: AbortSignal): Promise<Trace> {
  try {
    return await parseTraceStream(openedFile(file), signal);
  } catch (error) {
    if (!hasCode(error, 'TRACE_INVALID', 'TRACE_UNSUPPORTED', 'LIMIT_EXCEEDED', 'ARCHIVE_INVALID')) throw error;
    const { code, message, hint, cause } = error;
    throw new NaiadError(code, `${file}: ${message}`, { ...(hint !== undefined && { hint }), cause });
  }
}

/** Several as one. @throws as `readTrace` */
export async function readTraces(files: readonly string[], signal?: AbortSignal): Promise<Trace> {
  const traces: Trace[] = [];
  for (const file of files) traces.push(await readTrace(file, signal));
  const [only, ...others] = traces;
  return only && others.length === 0 ? only : mergeTraces(traces);
}

/** As `readTrace`, of bytes from elsewhere. */
export async function parseTraceStream(bytes: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<Trace> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of decompressStream(bytes, { signal })) {
    size += piece.length;
    // A small file can decompress to a very large one.
    if (size > TRACE_SIZE_MAX) throw tooLong(`more than ${TRACE_SIZE_MAX} bytes`, `${TRACE_SIZE_MAX}`);
    pieces.push(piece);
  }
  return await runInTurns(parseSteps(Buffer.concat(pieces)), signal);
}

async function* openedFile(file: string): AsyncIterable<Uint8Array> {
  try {
    yield* createReadStream(file);
  } catch (error) {
    throw systemError(error, `trace ${file}`);
  }
}
