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
import { KnownHosts } from '../registry/known-hosts.ts';
import { getManifest, headManifest, putManifest } from '../registry/manifests.ts';
import { registryReader } from '../registry/reader.ts';
import { addFallbackReferrer, listReferrers } from '../registry/referrers.ts';
import { Registry, type RegistryOptions, type RegistryStats } from '../registry/transport.ts';
import { type BlobUpload, uploadBlob } from '../registry/upload.ts';
import type { UploadHabits } from '../registry/upload-habits.ts';
import { createSpool, type Spool } from '../store/spool.ts';
import type { ImageSource, ImageTarget, LocalBlob, PutOptions, SourceTraffic, StreamOptions } from './transport.ts';

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

  get traffic(): SourceTraffic {
    const { requests, retries, rangesIgnored } = this.stats;
    return { requests, retries, rangesIgnored, distrusted: this.#registry.distrusted };
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

  connectAhead(): void {
    this.#registry.connectAhead();
  }

  get home(): { readonly host: string; readonly repository: string } {
    const { host, repository } = this.#reference;
    return { host, repository };
  }

  async referrers(digest: string, signal?: AbortSignal): Promise<readonly Descriptor[]> {
    return await listReferrers(this.#registry, this.#reference.repository, digest, signal);
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
  readonly #hosts: KnownHosts | undefined;
  readonly #habitsBefore: UploadHabits;
  /** Pushes under way, so that one digest is never sent twice at once. */
  readonly #pushing = new Map<string, Promise<void>>();

  /** What the registry said it does not have, so that it is not asked again before a push. */
  readonly #missing = new Set<string>();

  private constructor(reference: Reference, registry: Registry, spool: Spool, hosts: KnownHosts | undefined) {
    this.name = `docker://${formatReference(reference)}`;
    this.spoolDir = spool.path;
    this.#reference = reference;
    this.#registry = registry;
    this.#spool = spool;
    this.#hosts = hosts;
    this.#habitsBefore = { ...registry.uploadHabits };
  }

  /** @throws NaiadError REFERENCE_INVALID when the reference has a digest: what it will be is known only afterwards */
  static async open(reference: Reference, options: RegistryOptions = {}): Promise<RegistryTarget> {
    if (reference.digest !== undefined) {
      throw new NaiadError('REFERENCE_INVALID', `docker://${formatReference(reference)}: a target is named by a tag`, {
        hint: 'Leave the digest out: host/repository:tag',
      });
    }
    const registry = new Registry(reference.host, options);
    const hosts = options.knownHosts === undefined ? undefined : new KnownHosts(options.knownHosts);
    const known = await hosts?.read(reference.host);
    Object.assign(registry.uploadHabits, known?.habits);
    return new RegistryTarget(reference, registry, await createSpool(tmpdir()), hosts);
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
    // Opened with the first read, if there is one: nobody closes a file that was never asked for.
    const openAt = async function* (start: number) {
      yield* createReadStream(path, { highWaterMark: 1 * MiB, start });
    };
    await this.#push({ descriptor, open: () => openAt(0), openAt }, options);
  }

  async putBytes(
    descriptor: Pick<Descriptor, 'digest' | 'size'>,
    bytes: Uint8Array,
    signal?: AbortSignal,
  ): Promise<void> {
    await this.#push({ descriptor, open: () => bytes }, { signal });
  }

  async putStream(
    descriptor: Pick<Descriptor, 'digest' | 'size'>,
    open: () => AsyncIterable<Uint8Array>,
    options: StreamOptions = {},
  ): Promise<void> {
    const { host, repository } = this.#reference;
    const { from } = options;
    const mountFrom = from?.host === host && from.repository !== repository ? [from.repository] : [];
    await this.#push({ descriptor, open, mountFrom }, options);
  }

  async #push(blob: Omit<BlobUpload, 'repository'>, options: PutOptions): Promise<void> {
    const { digest } = blob.descriptor;
    const pushing =
      this.#pushing.get(digest) ?? this.#pushOnce(blob, options).finally(() => this.#pushing.delete(digest));
    this.#pushing.set(digest, pushing);
    await pushing;
  }

  async #pushOnce(blob: Omit<BlobUpload, 'repository'>, { signal, onProgress }: PutOptions): Promise<void> {
    const { descriptor } = blob;
    if (!this.#missing.has(descriptor.digest) && (await this.hasBlob(descriptor, signal))) {
      onProgress?.(descriptor.size);
      return;
    }
    try {
      const { repository } = this.#reference;
      await uploadBlob(this.#registry, { ...blob, repository, onProgress }, signal);
      this.#missing.delete(descriptor.digest);
    } catch (error) {
      throw systemError(error, `pushing blob ${descriptor.digest}`);
    }
  }

  async putManifest(manifest: RawManifest, signal?: AbortSignal): Promise<void> {
    await this.#publish(manifest, manifest.digest, signal);
  }

  /** The tag is written last, once, and read again: until then it names what it named before. */
  async commit(manifest: RawManifest, signal?: AbortSignal): Promise<void> {
    const selector = manifestSelector(this.#reference);
    await this.#publish(manifest, selector, signal);
    await this.#keepHabits();
    const { repository } = this.#reference;
    const stored = await headManifest(this.#registry, { repository, selector, fresh: true }, signal);
    if (stored === undefined || stored === manifest.digest) return;
    throw new NaiadError('REGISTRY_PROTOCOL', `${this.name}: pushed ${manifest.digest}, the tag names ${stored}`, {
      hint: 'Did someone else push to this tag at the same time?',
    });
  }

  /** For the pushes of other processes. */
  async #keepHabits(): Promise<void> {
    const { way, chunkSize } = this.#registry.uploadHabits;
    if (way === this.#habitsBefore.way && chunkSize === this.#habitsBefore.chunkSize) return;
    await this.#hosts?.learn(this.#registry.host, { habits: { way, chunkSize } });
  }

  async #publish(manifest: RawManifest, selector: string, signal: AbortSignal | undefined): Promise<void> {
    const { repository } = this.#reference;
    const isListed = await putManifest(this.#registry, { repository, selector }, manifest, signal);
    if (!isListed) await addFallbackReferrer(this.#registry, repository, manifest, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#registry[Symbol.asyncDispose]();
    await this.#spool[Symbol.asyncDispose]();
  }
}
