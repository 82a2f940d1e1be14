// Traces to files.
import { randomBytes } from 'node:crypto';
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { systemError } from '../base/system-error.ts';
import { createCompressor } from '../codec/codec.ts';
import { formatTrace, type Trace } from '../format/trace/trace.ts';

/** Writes a trace, compressed where the name ends in `.zst`; a reader never sees half of it. @throws NaiadError of the system */
export function writeTrace(file: string, trace: Trace): void {
  const bytes = formatTrace(trace);
  const written = `${file}.${randomBytes(4).toString('hex')}`;
  try {
    writeFileSync(written, file.endsWith('.zst') ? createCompressor('zstd')(bytes) : bytes, { flag: 'wx' });
    renameSync(written, file);
  } catch (error) {
    rmSync(written, { force: true });
    throw systemError(error, `writing the trace ${file}`);
  }
}
