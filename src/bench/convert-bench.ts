// How fast images are converted: the built command, as a process of its own for each run, as users run it.
import { mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { throwIfAborted } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { type Machine, thisMachine } from '../base/machine.ts';
import { createSpool } from '../store/spool.ts';
import { runNaiad } from './command.ts';
import { type Spread, spreadOf } from './statistics.ts';

export interface ConvertBenchOptions {
  readonly source: string;
  /** Flags of `naiad convert`. */
  readonly flags: readonly string[];
  readonly runs: number;
  readonly signal: AbortSignal;
  /** Called after each run. */
  readonly onRun: (run: ConvertRun, index: number) => void;
}

/** One conversion. */
export interface ConvertRun {
  /** Of uncompressed layers, while the conversion ran: from the source's manifest to the committed target. */
  readonly megabytesPerSecond: number;
  readonly seconds: number;
  /** From the start of the process to its end. */
  readonly processSeconds: number;
  readonly cpuSeconds: number;
  /** CPU seconds by what they went into; empty where the system does not tell threads apart. */
  readonly shares: Readonly<Record<string, number>>;
  /** Milliseconds in which the reader waited for memory: more than a few say that compressing is the bottleneck. */
  readonly waitMs: number;
  readonly peakMemory: number;
}

export interface ConvertBenchReport {
  readonly source: string;
  readonly flags: readonly string[];
  readonly machine: Machine;
  readonly tarSize: number;
  readonly storedSize: number;
  readonly targetSize: number;
  readonly layers: number;
  readonly files: number;
  /** The same in every run, or the benchmark fails. */
  readonly manifest: string;
  readonly runs: readonly ConvertRun[];
  readonly megabytesPerSecond: Spread;
  readonly seconds: Spread;
  readonly processSeconds: Spread;
  readonly cpuSeconds: Spread;
  readonly peakMemory: Spread;
  /** Medians. */
  readonly shares: Readonly<Record<string, number>>;
}

/** What `naiad convert --json` prints, as far as it is used here. */
interface ConvertOutput {
  readonly manifest: string;
  readonly layers: readonly unknown[];
  readonly tarSize: number;
  readonly storedSize: number;
  readonly targetSize: number;
  readonly files: number;
  readonly seconds: number;
  readonly usage: {
    readonly cpuSeconds: number;
    readonly shares?: Readonly<Record<string, number>>;
    readonly peakMemory: number;
  };
  readonly milliseconds: { readonly wait: number };
}

/** Converts the source `runs` times into a target that is thrown away. @throws NaiadError COMMAND_FAILED, CANCELED */
export async function benchConvert(options: ConvertBenchOptions): Promise<ConvertBenchReport> {
  await using spool = await createSpool(tmpdir());
  const runs: ConvertRun[] = [];
  let first: ConvertOutput | undefined;
  for (let index = 0; index < options.runs; index++) {
    throwIfAborted(options.signal);
    const target = join(spool.path, `run-${index}`);
    await mkdir(target);
    const { output, processSeconds } = await runConvert(options, `oci:${target}:bench`);
    await rm(target, { recursive: true });
    first ??= output;
    if (output.manifest !== first.manifest) {
      throw new NaiadError('BUG', `run ${index + 1} made ${output.manifest}, the first ${first.manifest}`);
    }
    const run: ConvertRun = {
      megabytesPerSecond: output.tarSize / 1e6 / output.seconds,
      seconds: output.seconds,
      processSeconds,
      cpuSeconds: output.usage.cpuSeconds,
      shares: output.usage.shares ?? {},
      waitMs: output.milliseconds.wait,
      peakMemory: output.usage.peakMemory,
    };
    runs.push(run);
    options.onRun(run, index);
  }
  if (!first) throw new NaiadError('USAGE', 'at least one run is needed');
  return report(options, first, runs);
}

function report(options: ConvertBenchOptions, first: ConvertOutput, runs: readonly ConvertRun[]): ConvertBenchReport {
  const spread = (pick: (run: ConvertRun) => number) => spreadOf(runs.map(pick));
  const shareNames = Object.keys(runs[0]?.shares ?? {});
  return {
    source: options.source,
    flags: options.flags,
    machine: thisMachine(),
    tarSize: first.tarSize,
    storedSize: first.storedSize,
    targetSize: first.targetSize,
    layers: first.layers.length,
    files: first.files,
    manifest: first.manifest,
    runs,
    megabytesPerSecond: spread((run) => run.megabytesPerSecond),
    seconds: spread((run) => run.seconds),
    processSeconds: spread((run) => run.processSeconds),
    cpuSeconds: spread((run) => run.cpuSeconds),
    peakMemory: spread((run) => run.peakMemory),
    shares: Object.fromEntries(shareNames.map((name) => [name, spread((run) => run.shares[name] ?? 0).median])),
  };
}

async function runConvert(
  { source, flags, signal }: ConvertBenchOptions,
  target: string,
): Promise<{ output: ConvertOutput; processSeconds: number }> {
  const start = performance.now();
  // The command cleans up after itself when it is asked to end.
  const printed = await runNaiad(['convert', '--json', ...flags, source, target], { signal });
  return { output: JSON.parse(printed) as ConvertOutput, processSeconds: (performance.now() - start) / 1000 };
}
