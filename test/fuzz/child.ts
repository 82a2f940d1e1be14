// The process that runs a target over inputs, because what is wrong may end it.
//   node child.js TARGET fuzz SEED FIRST SECONDS PROGRESS-FILE   prints a report as JSON
//   node child.js TARGET judge FILE…                             prints an outcome a line as JSON
// The number of the iteration under way stands in the progress file: whoever finds this process dead or stuck makes the
// same input again.
import { openSync, readFileSync, writeSync } from 'node:fs';
import { makeInput } from './mutator.ts';
import { readSeeds } from './seeds.ts';
import { judge, MEMORY_MAX } from './target.ts';
import { fuzzTarget } from './targets/all.ts';

export interface Failure {
  readonly iteration: number;
  readonly what: string;
}

export interface FuzzReport {
  readonly iterations: number;
  /** How often each error code, or success, came out. */
  readonly codes: Readonly<Record<string, number>>;
  /** Bytes of memory beyond what the seeds took. */
  readonly memory: number;
  readonly failures: readonly Failure[];
}

/** More of one cause adds nothing. */
const FAILURES_MAX = 5;

async function fuzz(
  name: string,
  seed: string,
  first: number,
  seconds: number,
  progressFile: string,
): Promise<FuzzReport> {
  const target = fuzzTarget(name);
  const seeds = readSeeds(target);
  const progress = openSync(progressFile, 'w');
  const mark = Buffer.alloc(8);
  const codes: Record<string, number> = {};
  const failures: Failure[] = [];
  let memoryBefore = 0;
  let memory = 0;
  let iteration = first;
  for (const end = Date.now() + seconds * 1000; Date.now() < end || iteration < seeds.length; iteration++) {
    mark.writeBigUInt64LE(BigInt(iteration));
    writeSync(progress, mark, 0, 8, 0);
    const outcome = await judge(target, makeInput(target, seeds, seed, iteration));
    const used = process.resourceUsage().maxRSS * 1024;
    if (iteration < seeds.length) memoryBefore = used;
    if (outcome.okay) codes[outcome.code] = (codes[outcome.code] ?? 0) + 1;
    else failures.push({ iteration, what: outcome.what });
    memory = memoryBefore === 0 ? 0 : used - memoryBefore;
    if (memory > (target.memoryMax ?? MEMORY_MAX)) {
      failures.push({ iteration, what: `used ${Math.round(memory / 2 ** 20)} MiB more than the seeds` });
      break;
    }
    if (failures.length >= FAILURES_MAX) break;
    // Streams leave work behind that only runs when this loop lets it.
    if (iteration % 64 === 0) await new Promise(setImmediate);
  }
  return { iterations: iteration - first, codes, memory, failures };
}

const [name = '', mode = '', ...rest] = process.argv.slice(2);
if (mode === 'fuzz') {
  const [seed = '', first = '0', seconds = '1', progressFile = ''] = rest;
  console.log(JSON.stringify(await fuzz(name, seed, Number(first), Number(seconds), progressFile)));
} else if (mode === 'judge') {
  const before = process.resourceUsage().maxRSS;
  for (const file of rest) {
    const outcome = await judge(fuzzTarget(name), readFileSync(file));
    const memory = (process.resourceUsage().maxRSS - before) * 1024;
    console.log(JSON.stringify({ ...outcome, memory }));
  }
}
