// How fast blobs go to a registry and ranges come from one: naiad beside skopeo and wrk, against the same servers on
// loopback, in turn, in one run.
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasCode, NaiadError } from '../base/errors.ts';
import { type Machine, thisMachine } from '../base/machine.ts';
import { KiB, MiB } from '../base/units.ts';
import { registryReader } from '../registry/reader.ts';
import { Registry } from '../registry/transport.ts';
import { createSpool } from '../store/spool.ts';
import { type BlobImage, writeBlobImage } from './blob-image.ts';
import { type CommandOptions, NAIAD_COMMAND, runCommand } from './command.ts';
import { checkRanges, randomRanges, readRanges, runWrk } from './range-load.ts';
import { type BenchServer, startDockerRegistry, startNginx } from './servers.ts';
import { type Spread, spreadOf } from './statistics.ts';

export interface RegistryBenchOptions {
  /** Bytes of the blob. */
  readonly size: number;
  readonly concurrency: number;
  /** Of one measurement of reads. */
  readonly seconds: number;
  readonly runs: number;
  readonly signal: AbortSignal;
  readonly note: (line: string) => void;
}

/** Millions of bytes a second, ours and a peer's; the ratio is that of the medians. */
export interface Comparison {
  readonly what: string;
  readonly server: string;
  readonly naiad: Spread;
  readonly peer: string;
  /** Left out where the peer is absent. */
  readonly peers?: Spread;
  readonly ratio?: number;
}

export interface RegistryBenchReport {
  readonly machine: Machine;
  readonly size: number;
  readonly concurrency: number;
  readonly seconds: number;
  readonly runs: number;
  readonly comparisons: readonly Comparison[];
  /** What could not be measured here, and why. */
  readonly missing: readonly { readonly name: string; readonly why: string }[];
}

const RANGE_SIZES = [1 * MiB, 64 * KiB];

/** @throws NaiadError COMMAND_FAILED, CANCELED, REGISTRY_…, NO_SPACE */
export async function benchRegistry(options: RegistryBenchOptions): Promise<RegistryBenchReport> {
  await using spool = await createSpool(tmpdir());
  const { signal, note, size, concurrency, seconds, runs } = options;
  note('writing a blob');
  const layout = join(spool.path, 'layout');
  await mkdir(layout);
  const image = await writeBlobImage(layout, size, signal);
  const bench = new RegistryBench(options, spool.path, image);
  await using registry = await bench.start('docker-registry', () =>
    startDockerRegistry(spool.path, { signal, remembers: false }),
  );
  await using nginx = await bench.start('nginx', () => startNginx(spool.path, layout, signal));
  await bench.findPeers();
  if (registry) await bench.pushes(registry);
  for (const server of [registry, nginx]) if (server) await bench.reads(server);
  return {
    machine: thisMachine(),
    ...{ size: image.size, concurrency, seconds, runs },
    comparisons: bench.comparisons,
    missing: bench.missing,
  };
}

class RegistryBench {
  readonly comparisons: Comparison[] = [];
  readonly missing: { name: string; why: string }[] = [];
  readonly #options: RegistryBenchOptions;
  readonly #dir: string;
  readonly #image: BlobImage;

  constructor(options: RegistryBenchOptions, dir: string, image: BlobImage) {
    this.#options = options;
    this.#dir = dir;
    this.#image = image;
  }

  /** A server, unless it cannot be had here. */
  async start(name: string, open: () => Promise<BenchServer>): Promise<BenchServer | undefined> {
    try {
      return await open();
    } catch (error) {
      if (!hasCode(error, 'COMMAND_FAILED')) throw error;
      this.missing.push({ name, why: error.message });
      return undefined;
    }
  }

  async findPeers(): Promise<void> {
    const options: CommandOptions = { signal: this.#options.signal, okay: [0, 1] };
    for (const name of ['skopeo', 'wrk']) {
      try {
        await runCommand(name, ['--version'], options);
      } catch (error) {
        if (!hasCode(error, 'COMMAND_FAILED')) throw error;
        this.missing.push({ name, why: error.message });
      }
    }
  }

  /** Both in turn, the one that begins changing; `peer` is not asked where it is missing. */
  async #compare(
    about: Pick<Comparison, 'what' | 'server' | 'peer'>,
    ours: () => Promise<number>,
    theirs: () => Promise<number>,
  ): Promise<void> {
    const figures = { ours: [] as number[], theirs: [] as number[] };
    const hasPeer = this.missing.every(({ name }) => name !== about.peer);
    for (let run = 0; run < this.#options.runs; run++) {
      const turns = run % 2 === 0 ? (['ours', 'theirs'] as const) : (['theirs', 'ours'] as const);
      for (const turn of turns) {
        if (turn === 'ours') figures.ours.push(await ours());
        else if (hasPeer) figures.theirs.push(await theirs());
      }
    }
    const naiad = spreadOf(figures.ours);
    const peers = spreadOf(figures.theirs);
    const ratio = naiad.median / peers.median;
    this.comparisons.push({ ...about, naiad, ...(hasPeer && { peers, ratio }) });
    this.#options.note(
      `${about.what}, ${about.server}: ${hasPeer ? `${ratio.toFixed(2)} of ${about.peer}` : 'no peer'}`,
    );
  }

  /** Whole processes, each to an empty registry. */
  async pushes(server: BenchServer): Promise<void> {
    const { reference, size } = this.#image;
    const push = async (command: string, args: readonly string[]) => {
      await server.empty?.();
      const start = performance.now();
      await runCommand(command, args, { signal: this.#options.signal });
      return size / 1000 / (performance.now() - start);
    };
    const target = `docker://${server.host}/bench:1`;
    const ours = () => push(process.execPath, [NAIAD_COMMAND, 'copy', '--quiet', '--plain-http', reference, target]);
    // Memory that a virtual machine has not used yet comes from its host, at two seconds a GiB: not to be paid by who begins.
    await ours();
    await this.#compare({ what: 'push', server: server.name, peer: 'skopeo' }, ours, () =>
      push('skopeo', ['--insecure-policy', 'copy', '-q', '--dest-tls-verify=false', reference, target]),
    );
    // Whoever came last, the registry has it now.
  }

  async reads(server: BenchServer): Promise<void> {
    const { digest, size, path } = this.#image;
    const { concurrency, seconds, signal } = this.#options;
    await using registry = new Registry(server.host, { plainHttp: true });
    const reader = registryReader(registry, { repository: 'bench', digest, size });
    const url = `http://${server.host}/v2/bench/blobs/${digest}`;
    for (const each of RANGE_SIZES) {
      if (each > size) throw new NaiadError('USAGE', `the blob is smaller than a range of ${each} bytes`);
      const load = { ranges: randomRanges(size, each), concurrency, seconds, signal };
      await checkRanges(reader, path, load.ranges);
      // What reads for a mount has run for long: half a second of V8's compiling belongs to no measurement.
      await readRanges(reader, load);
      await this.#compare(
        { what: `ranges of ${each / KiB} KiB`, server: server.name, peer: 'wrk' },
        () => readRanges(reader, load),
        () => runWrk(url, this.#dir, load),
      );
    }
  }
}
