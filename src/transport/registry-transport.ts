// Images in a registry, as source and target.
import { createReadStream } from 'node:fs';
import { tmpdir } from 'node:os';
import type { BlobReader } from '../backend/blob-reader.ts';
import { NaiadError } from '../base/errors.ts';
import { systemError } from '../base/system-error.ts';
import { MiB } from '../base/units.ts';
import type { Descriptor, RawManifest } from '../format/oci/manifest.ts';
import { formatReference, manifestSelector, type Reference } from '../format/oci/reference.ts';
import { hasBlob, openBlob } from '../registry/blobs.ts';
import { getManifest, putManifest } from '../registry/manifests.ts';
import { registryReader } from '../registry/reader.ts';
import { Registry, type RegistryOptions, type RegistryStats } from '../registry/transport.ts';
import { uploadBlob } from '../registry/upload.ts';
import { createSpool, type Spool } from '../store/spool.ts';
import type { ImageSource, ImageTarget, LocalBlob, PutOptions } from './transport.ts';

export class RegistrySource implements ImageSource {
  readonly name: string;
  readonly #reference: Reference;
  readonly #registry: Registry;

  constructor(reference: Reference, options: RegistryOptions = {}) {
    this.name = `docker://${formatReference(reference)}`;
    this.#reference = reference;
    this.#registry = new Registry(reference.host, options);
  }

  get stats(): Readonly<RegistryStats> {
    return this.#registry.stats;
  }

  async rootManifest(signal?: AbortSignal): Promise<RawManifest> {
    const { repository } = this.#reference;
    return await getManifest(this.#registry, { repository, selector: manifestSelector(this.#reference) }, signal);
  }

  async manifest({ digest }: Pick<Descriptor, 'digest'>, signal?: AbortSignal): Promise<RawManifest> {
    return await getManifest(this.#registry, { repository: this.#reference.repository, selector: digest }, signal);
  }

  async openBlob(
    descriptor: Pick<Descriptor, 'digest' | 'size'>,
    signal?: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array>> {
    return await openBlob(this.#registry, this.#reference.repository, descriptor, signal);
  }

  blobReader({ digest, size }: Pick<Descriptor, 'digest'> & Partial<Descriptor>): BlobReader {
    return registryReader(this.#registry, { repository: this.#reference.repository, digest, size });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#registry[Symbol.asyncDispose]();
  }
}

export class RegistryTarget implements ImageTarget {
  readonly name: string;
  readonly spoolDir: string;
  readonly #reference: Reference;
  readonly #registry: Registry;
  readonly #spool: Spool;
  /** Pushes under way, so that one digest is never sent twice at once. */
  readonly #pushing = new Map<string, Promise<void>>();

  /** What the registry said it does not have, so that it is not asked again before a push. */
  readonly #missing = new Set<string>();

  private constructor(reference: Reference, registry: Registry, spool: Spool) {
    this.name = `docker://${formatReference(reference)}`;
    this.spoolDir = spool.path;
    this.#reference = reference;
    this.#registry = registry;
    this.#spool = spool;
  }

  /** @throws NaiadError REFERENCE_INVALID when the reference has a digest: what it will be is known only afterwards */
  static async open(reference: Reference, options: RegistryOptions = {}): Promise<RegistryTarget> {
    if (reference.digest !== undefined) {
      throw new NaiadError('REFERENCE_INVALID', `docker://${formatReference(reference)}: a target is named by a tag`, {
        hint: 'Leave the digest out: host/repository:tag',
      });
    }
    return new RegistryTarget(reference, new Registry(reference.host, options), await createSpool(tmpdir()));
  }

  get stats(): Readonly<RegistryStats> {
    return this.#registry.stats;
  }

  async hasBlob(descriptor: Pick<Descriptor, 'digest' | 'size'>, signal?: AbortSignal): Promise<boolean> {
    const { digest, size } = descriptor;
    const has = await hasBlob(this.#registry, { repository: this.#reference.repository, digest, size }, signal);
    if (!has) this.#missing.add(digest);
    return has;
  }

  async putBlob({ path, descriptor }: LocalBlob, options: PutOptions = {}): Promise<void> {
    const open = () => createReadStream(path, { highWaterMark: 1 * MiB });
    await this.#push(descriptor, open, options);
  }

  async putBytes(
    descriptor: Pick<Descriptor, 'digest' | 'size'>,
    bytes: Uint8Array,
    signal?: AbortSignal,
  ): Promise<void> {
    await this.#push(descriptor, () => bytes, { signal });
  }

  async #push(
    descriptor: Pick<Descriptor, 'digest' | 'size'>,
    open: () => Uint8Array | AsyncIterable<Uint8Array>,
    { signal, onProgress }: PutOptions,
  ): Promise<void> {
    const { digest } = descriptor;
    const pushing = this.#pushing.get(digest) ?? this.#pushOnce(descriptor, open, { signal, onProgress });
    this.#pushing.set(digest, pushing);
    try {
      await pushing;
    } finally {
      this.#pushing.delete(digest);
    }
  }

  async #pushOnce(
    descriptor: Pick<Descriptor, 'digest' | 'size'>,
    open: () => Uint8Array | AsyncIterable<Uint8Array>,
    { signal, onProgress }: PutOptions,
  ): Promise<void> {
    if (!this.#missing.has(descriptor.digest) && (await this.hasBlob(descriptor, signal))) {
      onProgress?.(descriptor.size);
      return;
    }
    try {
      const { repository } = this.#reference;
      await uploadBlob(this.#registry, { repository, descriptor, open, onProgress }, signal);
    } catch (error) {
      throw systemError(error, `pushing blob ${descriptor.digest}`);
    }
  }

  async putManifest(manifest: RawManifest, signal?: AbortSignal): Promise<void> {
    const name = { repository: this.#reference.repository, selector: manifest.digest };
    await putManifest(this.#registry, name, manifest, signal);
  }

  async commit(manifest: RawManifest, signal?: AbortSignal): Promise<void> {
    const name = { repository: this.#reference.repository, selector: manifestSelector(this.#reference) };
    await putManifest(this.#registry, name, manifest, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#registry[Symbol.asyncDispose]();
    await this.#spool[Symbol.asyncDispose]();
  }
}
