// What a parser must offer to be fuzzed, and what counts as its failure.
import { NaiadError } from '../../src/base/errors.ts';
import { MiB } from '../../src/base/units.ts';

export interface FuzzTarget {
  /** Also the folder of its seeds, fixtures/fuzz/NAME, unless it shares those of `seedsOf`. */
  readonly name: string;
  readonly seedsOf?: string;
  /** Parses everything that `input` holds. Must return, or throw a NaiadError that is no BUG. */
  readonly run: (input: Buffer) => void | Promise<void>;
  /** Pieces of text or bytes that mean something to the parser; spliced into inputs. */
  readonly dictionary?: readonly string[];
  /** Where in an input the fields are that decide most; half of the mutations go there. */
  readonly hotspots?: (input: Buffer) => readonly { readonly offset: number; readonly size: number }[];
  /** Mends checksums after mutating, half of the time, so that what is behind them is reached. */
  readonly mend?: (input: Buffer) => void;
  /** Largest input made. */
  readonly inputSizeMax?: number;
  /** Memory that the process may use beyond what the seeds took. */
  readonly memoryMax?: number;
  /** Longest that the processor may work on one input. */
  readonly timeMaxMs?: number;
}

export const INPUT_SIZE_MAX = 64 * 1024;
/** Conversions promise 256 MiB for everything; one parser with a small input stays below. */
export const MEMORY_MAX = 192 * MiB;
export const TIME_MAX_MS = 2000;

export type Outcome = { readonly okay: true; readonly code: string } | { readonly okay: false; readonly what: string };

/** Runs `input` once and judges how it ended. */
export async function judge(target: FuzzTarget, input: Buffer): Promise<Outcome> {
  // Not by the clock, which a machine that is busy with other things lets run.
  const started = process.cpuUsage();
  const outcome = await attempt(target, input);
  const { user, system } = process.cpuUsage(started);
  const ms = (user + system) / 1000;
  if (outcome.okay && ms > (target.timeMaxMs ?? TIME_MAX_MS)) return { okay: false, what: `took ${Math.round(ms)} ms` };
  return outcome;
}

async function attempt(target: FuzzTarget, input: Buffer): Promise<Outcome> {
  try {
    // A copy of its own, because parsers may keep or misuse what they are given.
    await target.run(Buffer.from(input));
    return { okay: true, code: 'OK' };
  } catch (error) {
    if (error instanceof NaiadError && error.code !== 'BUG') return { okay: true, code: error.code };
    return { okay: false, what: describe(error) };
  }
}

/** Kind of failure and where it was thrown, without the values that differ from input to input. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return `threw ${typeof error}`;
  const frames = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
  const place = (frames.find((line) => line.includes('/src/')) ?? frames[0] ?? 'nowhere').trim();
  return `${error.name}: ${error.message.replace(/\d+/g, 'N').slice(0, 200)} (${place})`;
}
