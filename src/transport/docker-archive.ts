// What `docker save` writes, as source: a tar with manifest.json, which names a config and layers by path. Layers are
// mostly plain tars, whose digests are the diff ids of the config; the manifest a registry would have is made up here.

import { createHash } from 'node:crypto';
import type { BlobReader } from '../backend/blob-reader.ts';
import type { FilePart } from '../backend/file-reader.ts';
import { verifyStream } from '../backend/verify.ts';
import { throwIfAborted } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { CONFIG_SIZE_MAX, LAYERS_MAX, MANIFEST_SIZE_MAX } from '../base/limits.ts';
import { sha256Digest } from '../format/oci/digest.ts';
import { manifestOf } from '../format/oci/documents.ts';
import { type Descriptor, parseConfig, type RawManifest } from '../format/oci/manifest.ts';
import { MEDIA_TYPES } from '../format/oci/media-types.ts';
import { formatReference, parseReference, type Reference } from '../format/oci/reference.ts';
import { PartReader } from './layout-source.ts';
import { type Members, readMember, streamMember } from './members.ts';
import type { ImageSource } from './transport.ts';

/** One image of the archive's manifest.json. */
interface SavedImage {
  readonly config: string;
  readonly tags: readonly string[];
  readonly layers: readonly string[];
}

interface Opened {
  readonly manifest: RawManifest;
  readonly parts: ReadonlyMap<string, FilePart>;
}

export class DockerArchiveSource implements ImageSource {
  readonly name: string;
  readonly #members: Members;
  readonly #wanted: Reference | undefined;
  readonly #readers = new Map<string, PartReader>();
  #opened: Promise<Opened> | undefined;

  constructor(name: string, members: Members, wanted: Reference | undefined) {
    this.name = name;
    this.#members = members;
    this.#wanted = wanted;
  }

  async rootManifest(signal?: AbortSignal): Promise<RawManifest> {
    return (await this.#open(signal)).manifest;
  }

  async manifest({ digest }: Pick<Descriptor, 'digest'>, signal?: AbortSignal): Promise<RawManifest> {
    const { manifest } = await this.#open(signal);
    if (manifest.digest === digest) return manifest;
    throw new NaiadError('IMAGE_NOT_FOUND', `${this.name}: there is no manifest ${digest}`);
  }

  async openBlob(
    descriptor: Pick<Descriptor, 'digest' | 'size'>,
    signal?: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array>> {
    const part = await this.#findBlob(descriptor.digest, signal);
    return verifyStream(streamMember(part), descriptor, `blob ${descriptor.digest} of ${this.name}`);
  }

  blobReader({ digest }: Pick<Descriptor, 'digest'>): BlobReader {
    const reader = this.#readers.get(digest) ?? new PartReader(`${this.name}@${digest}`, () => this.#findBlob(digest));
    this.#readers.set(digest, reader);
    return reader;
  }

  async #findBlob(digest: string, signal?: AbortSignal): Promise<FilePart> {
    const part = (await this.#open(signal)).parts.get(digest);
    if (part) return part;
    throw new NaiadError('BLOB_NOT_FOUND', `${this.name}: there is no blob ${digest}`);
  }

  #open(signal?: AbortSignal): Promise<Opened> {
    this.#opened ??= this.#read(signal).catch((error) => {
      this.#opened = undefined;
      throw error;
    });
    return this.#opened;
  }

  async #read(signal: AbortSignal | undefined): Promise<Opened> {
    throwIfAborted(signal);
    const image = this.#choose(await this.#savedImages());
    const configPart = await this.#member(image.config);
    const configBytes = await readMember(configPart, CONFIG_SIZE_MAX, `config of ${this.name}`);
    const { diffIds } = parseConfig(configBytes);
    if (diffIds.length !== image.layers.length) {
      const counts = `${image.layers.length} layers, ${diffIds.length} diff ids`;
      throw new NaiadError('MANIFEST_INVALID', `${this.name}: config and archive disagree: ${counts}`);
    }
    const config = { mediaType: MEDIA_TYPES.dockerConfig, digest: sha256Digest(configBytes), size: configBytes.length };
    const parts = new Map([[config.digest, configPart]]);
    const layers: Descriptor[] = [];
    for (const [index, path] of image.layers.entries()) {
      const part = await this.#member(path);
      const layer = await this.#describeLayer(part, String(diffIds[index]), signal);
      parts.set(layer.digest, part);
      layers.push(layer);
    }
    return { manifest: manifestOf(MEDIA_TYPES.dockerManifest, { config, layers }), parts };
  }

  /** A plain tar has its diff id as digest, which is checked whenever it is read. What is compressed is hashed. */
  async #describeLayer(part: FilePart, diffId: string, signal: AbortSignal | undefined): Promise<Descriptor> {
    const { size } = part;
    const head = await readMember({ ...part, size: Math.min(2, size) }, 2, this.name);
    const isGzip = head[0] === 0x1f && head[1] === 0x8b;
    if (!isGzip) return { mediaType: MEDIA_TYPES.dockerLayer, digest: diffId, size };
    const hash = createHash('sha256');
    for await (const piece of streamMember(part)) {
      throwIfAborted(signal);
      hash.update(piece);
    }
    return { mediaType: MEDIA_TYPES.dockerLayerGzip, digest: `sha256:${hash.digest('hex')}`, size };
  }

  async #member(path: string): Promise<FilePart> {
    const part = await this.#members.find(path);
    if (part) return part;
    throw new NaiadError('BLOB_NOT_FOUND', `${this.name}: the archive has no member ${JSON.stringify(path)}`, {
      hint: 'The archive is incomplete; save the image again.',
    });
  }

  async #savedImages(): Promise<SavedImage[]> {
    const part = await this.#members.find('manifest.json');
    if (!part) {
      throw new NaiadError('IMAGE_NOT_FOUND', `${this.name}: this is no archive of docker save (no manifest.json)`);
    }
    const what = `manifest.json of ${this.name}`;
    const bytes = await readMember(part, MANIFEST_SIZE_MAX, what);
    let document: unknown;
    try {
      document = JSON.parse(Buffer.from(bytes).toString());
    } catch {
      throw new NaiadError('MANIFEST_INVALID', `${what} is not JSON`);
    }
    if (!Array.isArray(document)) throw new NaiadError('MANIFEST_INVALID', `${what} is not a list`);
    return document.map((entry) => savedImage(entry, what));
  }

  #choose(images: readonly SavedImage[]): SavedImage {
    const wanted = this.#wanted && formatReference(this.#wanted);
    const matching = images.filter(({ tags }) => wanted === undefined || tags.some((tag) => sameImage(tag, wanted)));
    const [chosen] = matching;
    if (chosen && matching.length === 1) return chosen;
    const names = images.flatMap(({ tags }) => (tags.length > 0 ? tags : ['(no name)']));
    const offered = names.length === 0 ? 'it has none' : `it has: ${names.slice(0, 20).join(', ')}`;
    const what = wanted === undefined ? 'which image?' : `no image ${wanted}`;
    throw new NaiadError('IMAGE_NOT_FOUND', `${this.name}: ${what}; ${offered}`, {
      hint: 'Name one behind the file: docker-archive:FILE:REPOSITORY:TAG.',
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const reader of this.#readers.values()) await reader[Symbol.asyncDispose]();
    this.#readers.clear();
  }
}

function savedImage(entry: unknown, what: string): SavedImage {
  const { Config, RepoTags, Layers } = (entry ?? {}) as { Config?: unknown; RepoTags?: unknown; Layers?: unknown };
  const isText = (value: unknown) => typeof value === 'string';
  const tags = RepoTags ?? [];
  if (typeof Config !== 'string' || !Array.isArray(Layers) || !Layers.every(isText)) {
    throw new NaiadError('MANIFEST_INVALID', `${what} has an entry without Config and Layers`);
  }
  if (!Array.isArray(tags) || !tags.every(isText)) {
    throw new NaiadError('MANIFEST_INVALID', `${what} has RepoTags that are no list of names`);
  }
  if (Layers.length > LAYERS_MAX) {
    throw new NaiadError('LIMIT_EXCEEDED', `${what}: ${Layers.length} layers, at most ${LAYERS_MAX} are read`);
  }
  return { config: Config, tags, layers: Layers };
}

function sameImage(tag: string, wanted: string): boolean {
  try {
    return formatReference(parseReference(tag)) === wanted;
  } catch {
    // A name that docker takes and we do not: it cannot be the one that was parsed.
    return false;
  }
}
