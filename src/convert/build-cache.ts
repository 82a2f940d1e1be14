// Layers that were converted before are not converted again: a build cache is an artifact in a registry or layout with a
// record of each (layer-record.ts), found by what the layer is and how it was converted. The blobs are not in it: a layer is
// taken over where the target has its blob.
import { NaiadError } from '../base/errors.ts';
import { LAYER_RECORDS_MAX } from '../base/limits.ts';
import {
  buildCacheManifest,
  isBuildCache,
  layerRecordDescriptor,
  layerRecordsIn,
} from '../format/oci/build-cache-artifact.ts';
import { sha256Digest } from '../format/oci/digest.ts';
import { type Descriptor, parseManifest } from '../format/oci/manifest.ts';
import { formatPlace, locate, type Place } from '../transport/locate.ts';
import { type OpenOptions, openSource, openTarget } from '../transport/open.ts';
import type { ImageSource, ImageTarget } from '../transport/transport.ts';
import type { BuildOptions } from './build-options.ts';
import { blobDescriptor } from './image-parts.ts';
import { LayerBuilder } from './layer-builder.ts';
import type { Converted, LayerContext, LayerInput } from './layer-input.ts';
import { readLayerRecord } from './layer-record.ts';
import { LayerRecorder } from './layer-recorder.ts';
import { BUILDER, fingerprint } from './options.ts';

export interface BuildCacheOptions extends OpenOptions {
  /** Told of what is wrong with the cache: a conversion does without. */
  readonly onTrouble: (message: string) => void;
}

export class BuildCache implements AsyncDisposable {
  readonly #place: Place;
  readonly #options: BuildCacheOptions;
  readonly #source: ImageSource | undefined;
  /** By key; those of this conversion are added, the last one used is the last. */
  readonly #records: Map<string, Descriptor>;
  readonly #added = new Map<string, string>();

  private constructor(
    place: Place,
    options: BuildCacheOptions,
    found: { readonly source?: ImageSource; readonly records: Map<string, Descriptor> },
  ) {
    this.#place = place;
    this.#options = options;
    this.#source = found.source;
    this.#records = found.records;
  }

  /**
   * Opens the cache `reference`, which need not be there yet; undefined, and told of, when it cannot be read.
   * @throws NaiadError USAGE for a place that cannot hold one, or that holds something else
   */
  static async open(reference: string, options: BuildCacheOptions): Promise<BuildCache | undefined> {
    const place = locate(reference);
    if (place.transport !== 'docker' && place.transport !== 'oci') {
      throw new NaiadError('USAGE', `${reference}: a build cache is in a registry or an OCI layout`, {
        hint: 'For example registry.example/app:build-cache, or oci:DIR:TAG.',
      });
    }
    const source = await openSource(place, options).catch(() => undefined); // A directory that is not there yet.
    try {
      const root = await source?.rootManifest(options.signal);
      if (root && !isBuildCache(root)) {
        throw new NaiadError('USAGE', `${reference} is there already, and is no build cache`, {
          hint: 'Choose a tag of its own for the cache: what is there would be lost.',
        });
      }
      const records = root ? layerRecordsIn(parseManifest(root.bytes, root.mediaType)) : new Map();
      return new BuildCache(place, options, { ...(source && { source }), records });
    } catch (error) {
      if (!(error instanceof NaiadError) || error.kind === 'canceled' || error.kind === 'usage') throw error;
      // Registries deny what is not there as well.
      if (error.code === 'IMAGE_NOT_FOUND' || error.code === 'ACCESS_DENIED') {
        return new BuildCache(place, options, { ...(source && { source }), records: new Map() });
      }
      await source?.[Symbol.asyncDispose]();
      options.onTrouble(`converting without the build cache ${reference}: ${error.message}`);
      return undefined;
    }
  }

  /** Takes over what is known of a layer, else converts it and keeps what is worth keeping of that. */
  async convert(
    layer: LayerInput,
    target: ImageTarget,
    options: BuildOptions,
    context: LayerContext,
  ): Promise<Converted> {
    if (layer.id === undefined) return await layer.convert(context);
    const key = sha256Digest(
      Buffer.from(JSON.stringify([layer.id, BUILDER, fingerprint({ ...options, prefetch: [] })])),
    );
    const found = await this.#find(key, target, context);
    if (found) {
      context.onRead(layer.size ?? 0);
      return found;
    }
    const path = `${context.into.path}.record`;
    using recorder = new LayerRecorder(path);
    let isWhole = true;
    const onSkipped: LayerContext['onSkipped'] = (what) => {
      isWhole = false; // It is converted each time, so that it is said each time.
      context.onSkipped(what);
    };
    const converted = await layer.convert({ ...context, onSkipped, into: { ...context.into, recorder } });
    const record = await recorder.finish(converted);
    if (record && isWhole) {
      this.#added.set(key, path);
      this.#use(key, layerRecordDescriptor(key, record));
    }
    return converted;
  }

  async #find(key: string, target: ImageTarget, context: LayerContext): Promise<Converted | undefined> {
    const record = this.#records.get(key);
    if (!record || !this.#source) return undefined;
    const { into, signal } = context;
    try {
      const stored = await this.#source.openBlob(record, signal);
      const { summary, entries } = await readLayerRecord(stored, { ...into, signal });
      if (summary.blob && !(await target.hasBlob(blobDescriptor(summary.blob), signal))) return undefined;
      const builder = new LayerBuilder({ tree: into.tree, whiteouts: true });
      for await (const { entry, chunks } of entries) await builder.add(entry, async () => chunks);
      const { root, files, entries: names } = builder;
      this.#use(key, record);
      return { ...summary, root, files, entries: names, cached: true };
    } catch (error) {
      if (!(error instanceof NaiadError) || error.kind === 'canceled') throw error;
      this.#options.onTrouble(`a layer is converted again: ${error.message}`);
      return undefined;
    }
  }

  #use(key: string, record: Descriptor): void {
    this.#records.delete(key);
    this.#records.set(key, record);
  }

  /** Publishes what this conversion added, once that is finished: files that it wrote are still there. */
  async save(): Promise<void> {
    if (this.#added.size === 0) return;
    const { signal } = this.#options;
    const kept = [...this.#records].slice(-LAYER_RECORDS_MAX);
    try {
      await using target = await openTarget(this.#place, this.#options);
      for (const [key, descriptor] of kept) {
        const path = this.#added.get(key);
        if (path !== undefined) await target.putBlob({ path, descriptor }, { signal });
      }
      const { manifest, config, configBytes } = buildCacheManifest(kept.map(([, descriptor]) => descriptor));
      await target.putBytes(config, configBytes, signal);
      await target.commit(manifest, signal);
    } catch (error) {
      if (!(error instanceof NaiadError) || error.kind === 'canceled') throw error;
      this.#options.onTrouble(`the build cache ${formatPlace(this.#place)} was not written: ${error.message}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#source?.[Symbol.asyncDispose]();
  }
}
