// The side that watches: starts the process that fuzzes, notices when it dies or hangs, and keeps and shrinks what did it.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryDir } from '../support/temporary.ts';
import type { Failure, FuzzReport } from './child.ts';
import { makeInput } from './mutator.ts';
import { readSeeds } from './seeds.ts';
import { MEMORY_MAX, type Outcome } from './target.ts';
import { fuzzTarget } from './targets/all.ts';

const CHILD = join(import.meta.dirname, 'child.js');
/** One input that is under way for so long hangs. */
const HANG_MS = 20_000;
const WATCH_MS = 500;
/** Runs of the target spent on making a failing input smaller. */
const SHRINK_RUNS_MAX = 150;

export interface FoundFailure extends Failure {
  /** Where the shrunk input was saved. */
  readonly path: string;
  readonly size: number;
}

export interface FuzzResult extends Omit<FuzzReport, 'failures'> {
  readonly failures: readonly FoundFailure[];
}

/** Fuzzes one target for `seconds` (one failure that kills the process ends it earlier). */
export async function runFuzz(
  name: string,
  options: { seed: string; seconds: number; first?: number },
): Promise<FuzzResult> {
  const { seed, seconds, first = 0 } = options;
  const target = fuzzTarget(name);
  using scratch = temporaryDir('fuzz');
  const progress = join(scratch.path, 'progress');
  const args = [name, 'fuzz', seed, `${first}`, `${seconds}`, progress];
  const ended = await runChild(args, { progress });
  const report: FuzzReport = ended.died
    ? { iterations: 0, codes: {}, memory: 0, failures: [{ iteration: iterationIn(progress), what: ended.died }] }
    : (JSON.parse(ended.output) as FuzzReport);
  const failures: FoundFailure[] = [];
  const causes = new Set<string>();
  for (const failure of report.failures) {
    if (causes.has(cause(failure.what))) continue;
    causes.add(cause(failure.what));
    const input = makeInput(target, readSeeds(target), seed, failure.iteration);
    const shrunk = await shrink(name, input, failure.what, scratch.path);
    failures.push({ ...failure, ...save(name, shrunk) });
  }
  return { ...report, failures };
}

interface Ended {
  readonly output: string;
  /** How the process died when it did not end by itself. */
  readonly died: string | undefined;
}

function runChild(args: readonly string[], options: { progress?: string; timeoutMs?: number } = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [CHILD, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    let complaint = '';
    let hung = false;
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      complaint = (complaint + text).slice(-3000);
    });
    const started = Date.now();
    let last = { iteration: -1, since: started };
    const watch = setInterval(() => {
      const now = Date.now();
      const iteration = options.progress ? iterationIn(options.progress) : 0;
      if (iteration !== last.iteration) last = { iteration, since: now };
      if (now - last.since < (options.timeoutMs ?? HANG_MS)) return;
      hung = true;
      child.kill('SIGKILL');
    }, WATCH_MS);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearInterval(watch);
      const first = complaint.split('\n').find((line) => /^\w*Error/.test(line)) ?? '';
      const died = hung ? 'hung' : code === 0 ? undefined : `killed the process (${signal ?? code}) ${first}`.trim();
      resolve({ output, died });
    });
  });
}

function iterationIn(progress: string): number {
  try {
    return Number(readFileSync(progress).readBigUInt64LE(0));
  } catch {
    return -1;
  }
}

/** A smaller input that fails in the same way, by leaving out ever smaller pieces and blanking what cannot be left out. */
async function shrink(name: string, input: Buffer, what: string, dir: string): Promise<Buffer> {
  let runs = 0;
  const stillFails = async (candidate: Buffer) => {
    runs++;
    const file = join(dir, 'candidate');
    writeFileSync(file, candidate);
    const { output, died } = await runChild([name, 'judge', file], { timeoutMs: HANG_MS });
    if (died) return cause(died) === cause(what);
    const outcome = JSON.parse(output) as Outcome & { memory: number };
    if (outcome.memory > (fuzzTarget(name).memoryMax ?? MEMORY_MAX)) return what.startsWith('used');
    return !outcome.okay && cause(outcome.what) === cause(what);
  };
  let best = input;
  if (!(await stillFails(best))) return best;
  for (let size = Math.ceil(best.length / 2); size >= 1 && runs < SHRINK_RUNS_MAX; size = Math.floor(size / 2)) {
    for (let at = 0; at < best.length && runs < SHRINK_RUNS_MAX; at += size) {
      const without = Buffer.concat([best.subarray(0, at), best.subarray(at + size)]);
      if (await stillFails(without)) {
        best = without;
        at -= size;
        continue;
      }
      const blank = Buffer.from(best).fill(0, at, Math.min(at + size, best.length));
      if (size > 8 && !blank.equals(best) && (await stillFails(blank))) best = blank;
    }
  }
  return best;
}

/** Times and amounts differ from run to run. */
function cause(what: string): string {
  return what.replace(/\d+/g, 'N');
}

function save(name: string, input: Buffer): { path: string; size: number } {
  const dir = join('.cache', 'fuzz');
  mkdirSync(dir, { recursive: true });
  const path = join(dir, `${name}-${createHash('sha256').update(input).digest('hex').slice(0, 12)}`);
  writeFileSync(path, input);
  return { path, size: input.length };
}
