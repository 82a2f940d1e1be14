// The same random ranges of one blob, read for a while by naiad's client and by wrk.
import { createReadStream } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { type BlobReader, type ByteRange, openStream } from '../backend/blob-reader.ts';
import { throwIfAborted } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { KiB } from '../base/units.ts';
import { runCommand } from './command.ts';

export interface RangeLoad {
  readonly ranges: readonly ByteRange[];
  /** Requests under way at once. */
  readonly concurrency: number;
  readonly seconds: number;
  readonly signal: AbortSignal;
}

/** More than are read twice from a processor's cache. */
const RANGES = 4096;

/** `size` bytes each, anywhere in a blob. */
export function randomRanges(blobSize: number, size: number): ByteRange[] {
  const places = Math.floor((blobSize - size) / (4 * KiB)) + 1;
  return Array.from({ length: RANGES }, () => ({ offset: Math.floor(Math.random() * places) * 4 * KiB, size }));
}

/** Bytes a second, in millions, as a lazy mount reads: a stream for each range. @throws NaiadError SIZE_MISMATCH, REGISTRY_… */
export async function readRanges(reader: BlobReader, load: RangeLoad): Promise<number> {
  const { ranges, concurrency, signal } = load;
  const start = performance.now();
  const end = start + load.seconds * 1000;
  let next = 0;
  let bytes = 0;
  const lane = async () => {
    while (performance.now() < end) {
      throwIfAborted(signal);
      const range = ranges[next++ % ranges.length] as ByteRange;
      let got = 0;
      for await (const piece of (await openStream(reader, range, signal)).pieces) got += piece.length;
      if (got !== range.size) {
        throw new NaiadError(
          'SIZE_MISMATCH',
          `${reader.name}: ${got} bytes at ${range.offset}, expected ${range.size}`,
        );
      }
      bytes += got;
    }
  };
  await Promise.all(Array.from({ length: concurrency }, lane));
  return bytes / 1000 / (performance.now() - start);
}

/** The same by wrk. @throws NaiadError COMMAND_FAILED when it cannot be run, or when the server refused a request */
export async function runWrk(url: string, dir: string, load: RangeLoad): Promise<number> {
  const script = join(dir, 'ranges.lua');
  await writeFile(script, wrkScript(load.ranges));
  const threads = Math.min(availableParallelism(), load.concurrency);
  const args = [`-t${threads}`, `-c${load.concurrency}`, `-d${load.seconds}s`, '-s', script, url];
  const { stdout } = await runCommand('wrk', args, { signal: load.signal });
  const [requests = 0, errors = 1, microseconds = 0] =
    /^ranges (\d+) (\d+) (\d+)$/m.exec(stdout)?.slice(1).map(Number) ?? [];
  if (errors > 0 || requests === 0)
    throw new NaiadError('COMMAND_FAILED', `wrk: ${errors} of ${requests} requests failed`);
  const size = load.ranges.reduce((sum, range) => sum + range.size, 0) / load.ranges.length;
  return (requests * size) / microseconds;
}

/** Each thread begins elsewhere in the list. */
function wrkScript(ranges: readonly ByteRange[]): string {
  const list = ranges.map(({ offset, size }) => `"bytes=${offset}-${offset + size - 1}"`).join(',\n');
  return `
local ranges = { ${list} }
local threads = 0
function setup(thread)
  thread:set("at", threads * 997)
  threads = threads + 1
end
local requests = {}
function init(args)
  for i, range in ipairs(ranges) do requests[i] = wrk.format("GET", nil, { ["Range"] = range }) end
end
function request()
  at = at % #requests + 1
  return requests[at]
end
function done(summary, latency, all)
  local e = summary.errors
  print(string.format("ranges %d %d %d", summary.requests, e.connect + e.read + e.write + e.status + e.timeout, summary.duration))
end
`;
}

/** Compares a few ranges with the file they come from. @throws NaiadError DIGEST_MISMATCH */
export async function checkRanges(reader: BlobReader, path: string, ranges: readonly ByteRange[]): Promise<void> {
  for (const range of ranges.slice(0, 4)) {
    const pieces: Uint8Array[] = [];
    const { offset: start, size } = range;
    for await (const piece of createReadStream(path, { start, end: start + size - 1 }))
      pieces.push(piece as Uint8Array);
    if (Buffer.compare(Buffer.concat(pieces), await reader.readAt(range)) !== 0) {
      throw new NaiadError('DIGEST_MISMATCH', `${reader.name}: wrong bytes at ${start}`);
    }
  }
}
