// A conversion, from source to all that its manifest names in the target. Layers are converted several at once, laid over one
// another in their order, and their blobs are on their way to the target while later layers are still read.
import { join } from 'node:path';
import { assert } from '../base/assert.ts';
import { forEachBounded, Lanes, throwIfAborted } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { CHUNK_SIZE_DEFAULT, TREE_ENTRIES_MAX } from '../base/limits.ts';
import type { JsonObject } from '../format/oci/json-reader.ts';
import type { RawManifest } from '../format/oci/manifest.ts';
import type { BlobInfo } from '../image/blob-info.ts';
import { type PlannedBootstrap, planBootstrap } from '../image/bootstrap-writer.ts';
import { FileTree, type NodeId } from '../image/file-tree.ts';
import { layOver } from '../image/overlay.ts';
import { IMPLIED_DIRECTORY } from '../image/tree.ts';
import { TreeMemory } from '../image/tree-memory.ts';
import type { Skipped } from '../tar/xattrs.ts';
import type { ImageTarget } from '../transport/transport.ts';
import type { BuildCache } from './build-cache.ts';
import type { BuildOptions } from './build-options.ts';
import { CompressPool } from './compress-pool.ts';
import type { LayerOptions } from './convert-layer.ts';
import { watchHeap } from './engine.ts';
import { blobDescriptor, describeImage, writeBootstrapLayer } from './image-parts.ts';
import type { Converted, LayerContext, LayerInput } from './layer-input.ts';
import { Meter } from './meter.ts';
import { BUILDER, checkBuildOptions, fingerprint, poolOptions } from './options.ts';
import { measureUsage, type Usage } from './usage.ts';

/** What a conversion starts from, whatever it was read from. */
export interface ConvertInput {
  /** From the base up. */
  readonly layers: readonly LayerInput[];
  readonly config: JsonObject;
  readonly annotations: Readonly<Record<string, string>>;
  readonly source: { readonly digest?: string; readonly reference?: string };
}

export interface ConvertHooks {
  readonly signal: AbortSignal;
  /** Told of what a conversion goes on without. */
  readonly onTrouble?: ((message: string) => void) | undefined;
  readonly onProgress?:
    | ((state: { readonly done: number; readonly total?: number; readonly text: string }) => void)
    | undefined;
}

export interface LayerReport {
  /** Bytes of the source's layer as stored, and of its tar. */
  readonly storedSize: number;
  readonly tarSize: number;
  readonly files: number;
  /** Chunks of all its files, and those of its blob. */
  readonly chunks: number;
  readonly chunksStored: number;
  /** Undefined for a layer without file data, or none that the image still shows. */
  readonly blobId: string | undefined;
  readonly blobSize: number;
  /** True when it was taken over from a build cache. */
  readonly cached: boolean;
}

/** What is particular to one of several images of an index. */
export interface ConvertOptions extends BuildOptions {
  /** Where unfinished files go, for this conversion alone; the target's own place for them when left out. */
  readonly spoolDir?: string | undefined;
  /** Where layers are looked for that were converted before. */
  readonly cache?: BuildCache | undefined;
  /** The usual one of an image's config when left out. */
  readonly configMediaType?: string | undefined;
}

export interface ConvertReport {
  readonly manifest: string;
  readonly layers: readonly LayerReport[];
  readonly storedSize: number;
  readonly tarSize: number;
  readonly files: number;
  readonly inodes: number;
  readonly bootstrapSize: number;
  readonly bootstrapStoredSize: number;
  /** Bytes of all blobs and the bootstrap layer. */
  readonly targetSize: number;
  /** Bytes of blobs that the target had already. */
  readonly reusedSize: number;
  readonly skipped: readonly { readonly what: Skipped; readonly count: number }[];
  readonly seconds: number;
  readonly usage: Usage;
  readonly meter: Meter;
}

/** Trees of fewer nodes take little memory. */
const SMALL_TREE_NODES = 100_000;
/** Pushes in flight; each is one connection's worth of work. */
const PUSHES_IN_FLIGHT_MAX = 3;

/**
 * Converts `input` and puts all that its manifest names into `target`. The manifest is the caller's to commit there, by itself or
 * in an index: a target that is disposed without a commit keeps nothing.
 * @throws NaiadError whatever reading, building and pushing throw
 */
export async function convert(
  input: ConvertInput,
  target: ImageTarget,
  options: ConvertOptions,
  hooks: ConvertHooks,
): Promise<{ readonly report: ConvertReport; readonly manifest: RawManifest }> {
  checkBuildOptions(options);
  const { spoolDir = target.spoolDir } = options;
  const start = performance.now();
  const finishUsage = await measureUsage();
  using memory = new TreeMemory(spoolDir, options.chunkSize);
  const run = new Run(input, target, { ...options, spoolDir, memory }, hooks);
  const layers = await run.convertLayers();
  const { report, manifest } = await run.finish(layers);
  const seconds = (performance.now() - start) / 1000;
  return { report: { ...report, seconds, usage: await finishUsage(run.meter) }, manifest };
}

interface RunOptions extends ConvertOptions {
  readonly spoolDir: string;
  readonly memory: TreeMemory;
}

type RunReport = Omit<ConvertReport, 'seconds' | 'usage'>;

class Run {
  readonly meter = new Meter();
  readonly #input: ConvertInput;
  readonly #target: ImageTarget;
  readonly #options: RunOptions;
  readonly #hooks: ConvertHooks;
  readonly #tree: FileTree;
  readonly #root: NodeId;
  readonly #skipped = new Map<Skipped, number>();
  /** Fires with the first failure, wherever it was. */
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  readonly #pushLanes = new Lanes(PUSHES_IN_FLIGHT_MAX);
  readonly #pushes: Promise<void>[] = [];
  readonly #storedSizes: number[];
  #reusedSize = 0;

  constructor(input: ConvertInput, target: ImageTarget, options: RunOptions, hooks: ConvertHooks) {
    this.#input = input;
    this.#target = target;
    this.#options = options;
    this.#hooks = hooks;
    this.#tree = new FileTree(options.chunkSize, options.memory);
    this.#root = this.#tree.addDirectory(IMPLIED_DIRECTORY);
    this.#signal = AbortSignal.any([hooks.signal, this.#stop.signal]);
    this.#storedSizes = input.layers.map(() => 0);
  }

  /** Converts all layers and lays each over those below as soon as they are there. */
  async convertLayers(): Promise<Converted[]> {
    await using pool = new CompressPool(poolOptions(this.#options));
    const { layers } = this.#input;
    const converted: (Converted | undefined)[] = layers.map(() => undefined);
    let laidOver = 0;
    let entries = 0;
    try {
      await forEachBounded(
        layers.entries(),
        { inFlightMax: this.#options.jobs, signal: this.#signal },
        async ([index, layer], signal) => {
          const context: LayerContext = {
            into: this.#layerOptions(index, pool),
            signal,
            onSkipped: (what) => this.#skipped.set(what, (this.#skipped.get(what) ?? 0) + 1),
            onRead: (bytes) => this.#countRead(index, bytes),
          };
          const { cache } = this.#options;
          const result = await (cache
            ? cache.convert(layer, this.#target, this.#options, context)
            : layer.convert(context));
          converted[index] = result;
          entries += result.entries;
          if (entries > TREE_ENTRIES_MAX) {
            throw new NaiadError('LIMIT_EXCEEDED', `the image has more than ${TREE_ENTRIES_MAX} entries`);
          }
          for (let next = converted[laidOver]; next; next = converted[laidOver]) {
            layOver(this.#tree, this.#root, next.root);
            laidOver++;
          }
          if (this.#pushesEarly) this.#push(index, result);
        },
      );
    } catch (error) {
      await this.#giveUp(error);
    }
    this.meter.ms.compress = pool.cpuSeconds * 1000;
    return converted.map((layer) => {
      assert(layer, 'every layer was converted');
      return layer;
    });
  }

  /** Bootstrap, remaining pushes, config; the manifest is made. */
  async finish(layers: readonly Converted[]): Promise<{ report: RunReport; manifest: RawManifest }> {
    const { compressor, digester, prefetch } = this.#options;
    this.#progress('writing the bootstrap');
    try {
      throwIfAborted(this.#signal);
      const blobs = layers.map(({ blob }) => blob);
      const { tree, root } = { tree: this.#tree, root: this.#root };
      const bootstrap = planBootstrap({ tree, root, blobs, compressor, digester, prefetch });
      const used = new Set(bootstrap.blobs);
      if (!this.#pushesEarly) {
        for (const [index, layer] of layers.entries()) if (layer.blob && used.has(layer.blob)) this.#push(index, layer);
      }
      const layerPath = join(this.#options.spoolDir, 'bootstrap-layer');
      const layer = await writeBootstrapLayer(bootstrap, layerPath, this.#signal);
      const image = describeImage({
        blobs: bootstrap.blobs,
        bootstrap: layer,
        config: this.#input.config,
        kept: blobs.map((blob) => blob !== undefined && used.has(blob)),
        annotations: this.#input.annotations,
        origin: { ...this.#input.source, builder: BUILDER, options: fingerprint(this.#options) },
        configMediaType: this.#options.configMediaType,
      });
      this.#progress('pushing');
      await this.#target.putBlob({ path: layerPath, descriptor: layer.descriptor }, { signal: this.#signal });
      await this.#target.putBytes(image.config.descriptor, image.config.bytes, this.#signal);
      await Promise.all(this.#pushes);
      const { manifest } = image;
      return { report: this.#report(layers, { bootstrap, layer, manifest: manifest.digest, used }), manifest };
    } catch (error) {
      return await this.#giveUp(error);
    }
  }

  /**
   * A registry gets a blob as soon as it is finished; one that no file refers to in the end stays there without a
   * manifest, until the registry collects its garbage. A local target gets only what the image names.
   */
  get #pushesEarly(): boolean {
    return this.#target.name.startsWith('docker://');
  }

  #layerOptions(index: number, pool: CompressPool): LayerOptions {
    const { chunkSize, compressor, digester } = this.#options;
    const path = this.#blobPath(index);
    const memory = this.#options.memory.columns;
    return {
      tree: this.#tree,
      pool,
      path,
      durable: this.#target.name.startsWith('oci:'),
      blobIndex: index,
      chunkSize,
      compressor,
      digester,
      meter: this.meter,
      memory,
    };
  }

  #blobPath(index: number): string {
    return join(this.#options.spoolDir, `layer-${index}`);
  }

  #push(index: number, { blob, cached }: Converted): void {
    if (!blob) return;
    const descriptor = blobDescriptor(blob);
    const push = async () => {
      using _lane = await this.#pushLanes.acquire();
      throwIfAborted(this.#signal);
      if (cached || (await this.#target.hasBlob(descriptor, this.#signal))) this.#reusedSize += descriptor.size;
      else await this.#target.putBlob({ path: this.#blobPath(index), descriptor }, { signal: this.#signal });
    };
    const pushed = push();
    pushed.catch((error: unknown) => this.#stop.abort(error));
    this.#pushes.push(pushed);
  }

  /** Ends what is still under way, then throws the first failure. */
  async #giveUp(error: unknown): Promise<never> {
    this.#stop.abort(error);
    await Promise.allSettled(this.#pushes);
    // Whoever only noticed the end of the others says so less well than the one that failed.
    const { reason } = this.#stop.signal;
    throw this.#hooks.signal.aborted ? error : reason;
  }

  #countRead(index: number, bytes: number): void {
    this.#storedSizes[index] = (this.#storedSizes[index] as number) + bytes;
    watchHeap(this.#tree.nodeLimit < SMALL_TREE_NODES && this.#options.chunkSize <= CHUNK_SIZE_DEFAULT, bytes);
    this.#progress('converting');
  }

  #progress(text: string): void {
    const sizes = this.#input.layers.map(({ size }) => size);
    const known = sizes.every((size) => size !== undefined);
    this.#hooks.onProgress?.({
      done: sum(this.#storedSizes),
      text,
      ...(known && { total: sum(sizes as number[]) }),
    });
  }

  #report(
    layers: readonly Converted[],
    made: {
      readonly bootstrap: PlannedBootstrap;
      readonly layer: Awaited<ReturnType<typeof writeBootstrapLayer>>;
      readonly manifest: string;
      readonly used: ReadonlySet<BlobInfo>;
    },
  ): RunReport {
    const { bootstrap, layer } = made;
    const reports = layers.map(({ blob, tarSize, files, chunks, cached = false }, index): LayerReport => {
      const used = blob && made.used.has(blob) ? blob : undefined;
      return {
        storedSize: this.#storedSizes[index] as number,
        tarSize,
        files,
        chunks,
        chunksStored: used?.chunks.count ?? 0,
        blobId: used?.blobId,
        blobSize: used?.compressedSize ?? 0,
        cached,
      };
    });
    return {
      manifest: made.manifest,
      layers: reports,
      storedSize: sum(this.#storedSizes),
      tarSize: sum(reports.map(({ tarSize }) => tarSize)),
      files: sum(reports.map(({ files }) => files)),
      inodes: bootstrap.inodes,
      bootstrapSize: bootstrap.size,
      bootstrapStoredSize: layer.descriptor.size,
      targetSize: sum(bootstrap.blobs.map(({ compressedSize }) => compressedSize)) + layer.descriptor.size,
      reusedSize: this.#reusedSize,
      skipped: [...this.#skipped].map(([what, count]) => ({ what, count })),
      meter: this.meter,
    };
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
