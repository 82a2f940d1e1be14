// How fast the files of a mounted image are, against the same files in ext4 and against a minimal FUSE file system: every
// operation on every file system in turn, the whole round several times, in one run.
import { mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasCode, NaiadError } from '../base/errors.ts';
import { type Machine, thisMachine } from '../base/machine.ts';
import { MiB } from '../base/units.ts';
import { nativeProgram } from '../native/load.ts';
import { createSpool } from '../store/spool.ts';
import { runCommand, runNaiad } from './command.ts';
import { READ_STATES, type ReadFigure, type ReadState } from './read-figures.ts';
import { goalsOf, type ReadGoal } from './read-goals.ts';
import { READ_OPERATIONS, type ReadOperation, writeLists } from './read-operations.ts';
import { driverTarget, ext4Target, floorTarget, type ReadTarget, type TargetPlace } from './read-targets.ts';
import { spreadOf } from './statistics.ts';

export interface ReadBenchOptions {
  /** Reference of a converted image. */
  readonly image: string;
  /** Options of naiad that say how its registry is reached. */
  readonly registryArguments: readonly string[];
  readonly drivers: readonly string[];
  readonly runs: number;
  readonly signal: AbortSignal;
  readonly note: (line: string) => void;
}

export interface ReadBenchReport {
  readonly image: string;
  readonly machine: Machine;
  readonly runs: number;
  readonly targets: readonly { readonly name: string; readonly what: string }[];
  /** What could not be measured here, and why. */
  readonly missing: readonly { readonly name: string; readonly why: string }[];
  readonly figures: readonly ReadFigure[];
  readonly goals: readonly ReadGoal[];
}

interface Sample {
  readonly microseconds: number;
  readonly megabytesPerSecond: number;
}

/** @throws NaiadError ADDON_MISSING without the prober, PERMISSION unless root, COMMAND_FAILED, CANCELED */
export async function benchRead(options: ReadBenchOptions): Promise<ReadBenchReport> {
  if (process.geteuid?.() !== 0) {
    throw new NaiadError('PERMISSION', 'making the kernel forget files needs root', { hint: 'Run it with sudo.' });
  }
  const prober = nativeProgram('naiad-prober');
  await using spool = await createSpool(tmpdir());
  const { signal, note } = options;
  const tree = join(spool.path, 'tree');
  note('unpacking');
  const place = { state: join(spool.path, 'state'), cache: join(spool.path, 'cache') };
  await runNaiad(['unpack', '--quiet', ...options.registryArguments, options.image, tree], { signal, place });
  const lists = writeLists(tree, spool.path);
  const { found, missing } = await openTargets(options, tree, spool.path);
  const samples = new Map<string, Sample[]>();
  try {
    for (let run = 0; run < options.runs; run++) {
      note(`run ${run + 1} of ${options.runs}`);
      await measureRound({ found, lists, prober, signal }, samples);
    }
  } finally {
    for (const target of found.toReversed()) await target[Symbol.asyncDispose]();
  }
  const figures = figuresOf(found, samples);
  return {
    image: options.image,
    machine: thisMachine(),
    runs: options.runs,
    targets: found.map(({ name, what }) => ({ name, what })),
    missing,
    figures,
    goals: goalsOf(figures),
  };
}

/** Opens what can be had here; the rest is told with its reason. */
async function openTargets(
  { image, registryArguments, drivers, signal, note }: ReadBenchOptions,
  tree: string,
  dir: string,
): Promise<{ found: ReadTarget[]; missing: { name: string; why: string }[] }> {
  const found: ReadTarget[] = [];
  const missing: { name: string; why: string }[] = [];
  const openers: Record<string, (place: TargetPlace) => Promise<ReadTarget>> = {
    ext4: (place) => ext4Target(tree, place),
    floor: (place) => floorTarget(tree, place),
  };
  for (const driver of drivers) openers[driver] = (place) => driverTarget([...registryArguments, image], driver, place);
  try {
    for (const [name, open] of Object.entries(openers)) {
      note(`mounting ${name}`);
      const place = { dir: join(dir, name), signal };
      mkdirSync(place.dir);
      try {
        found.push(await open(place));
      } catch (error) {
        if (!hasCode(error, 'COMMAND_FAILED')) throw error;
        missing.push({ name, why: error.message });
      }
    }
  } catch (error) {
    for (const target of found) await target[Symbol.asyncDispose]();
    throw error;
  }
  return { found, missing };
}

interface Round {
  readonly found: readonly ReadTarget[];
  readonly lists: Readonly<Record<ReadOperation, string>>;
  readonly prober: string;
  readonly signal: AbortSignal;
}

/** Every operation on every file system in turn, so that whatever else the machine does meets them all. */
async function measureRound({ found, lists, prober, signal }: Round, samples: Map<string, Sample[]>): Promise<void> {
  for (const state of READ_STATES) {
    for (const operation of READ_OPERATIONS) {
      for (const target of found) {
        const { stdout } = await runCommand(prober, [operation, state, lists[operation], target.root], { signal });
        const key = keyOf(target.name, operation, state);
        samples.set(key, [...(samples.get(key) ?? []), parse(stdout, operation)]);
      }
    }
  }
}

function keyOf(target: string, operation: ReadOperation, state: ReadState): string {
  return `${target} ${operation} ${state}`;
}

/** What the prober printed: operations, nanoseconds, bytes. */
function parse(stdout: string, operation: ReadOperation): Sample {
  const [operations = 0, nanoseconds = 0, bytes = 0] = stdout.trim().split(' ').map(Number);
  const units = operation === 'sequential' ? bytes / MiB : operations;
  return { microseconds: nanoseconds / 1000 / units, megabytesPerSecond: bytes / 1e6 / (nanoseconds / 1e9) };
}

function figuresOf(found: readonly ReadTarget[], samples: ReadonlyMap<string, readonly Sample[]>): ReadFigure[] {
  const spread = (target: string, operation: ReadOperation, state: ReadState) =>
    spreadOf((samples.get(keyOf(target, operation, state)) ?? []).map(({ microseconds }) => microseconds));
  return READ_OPERATIONS.flatMap((operation) =>
    READ_STATES.flatMap((state) =>
      found.map(({ name }): ReadFigure => {
        const microseconds = spread(name, operation, state);
        const ratio = (other: string) => microseconds.median / spread(other, operation, state).median;
        const ratios = { toExt4: ratio('ext4'), toFloor: ratio('floor') };
        const rates = (samples.get(keyOf(name, operation, state)) ?? []).map((sample) => sample.megabytesPerSecond);
        return {
          ...{ target: name, operation, state, microseconds },
          ...(operation === 'sequential' && { megabytesPerSecond: spreadOf(rates) }),
          ...(Number.isFinite(ratios.toExt4) && { toExt4: ratios.toExt4 }),
          ...(Number.isFinite(ratios.toFloor) && { toFloor: ratios.toFloor }),
        };
      }),
    ),
  );
}
