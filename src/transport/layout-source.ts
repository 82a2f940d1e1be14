// Images in an OCI layout, be it a directory or the members of an archive.
import type { BlobReader } from '../backend/blob-reader.ts';
import { type FilePart, FileReader } from '../backend/file-reader.ts';
import { verifyStream } from '../backend/verify.ts';
import { throwIfAborted } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { MANIFEST_SIZE_MAX } from '../base/limits.ts';
import { KiB } from '../base/units.ts';
import { digestHex, sha256Digest } from '../format/oci/digest.ts';
import { type Descriptor, documentMediaType, parseIndex, type RawManifest } from '../format/oci/manifest.ts';
import { isIndexMediaType, isManifestMediaType } from '../format/oci/media-types.ts';
import { type Members, readMember, streamMember } from './members.ts';
import type { ImageSource } from './transport.ts';

/** How a layout names its images, in the annotations of its index. */
export const REF_NAME = 'org.opencontainers.image.ref.name';
const NAME_ANNOTATIONS = [REF_NAME, 'io.containerd.image.name'];

export class LayoutSource implements ImageSource {
  readonly name: string;
  readonly #members: Members;
  readonly #tag: string | undefined;
  readonly #readers = new Map<string, PartReader>();

  constructor(name: string, members: Members, tag: string | undefined) {
    this.name = name;
    this.#members = members;
    this.#tag = tag;
  }

  async rootManifest(signal?: AbortSignal): Promise<RawManifest> {
    throwIfAborted(signal);
    await this.#checkLayout();
    const part = await this.#members.find('index.json');
    if (!part) throw new NaiadError('IMAGE_NOT_FOUND', `${this.name}: the layout has no index.json`);
    const what = `index.json of ${this.name}`;
    const index = parseIndex(await readMember(part, MANIFEST_SIZE_MAX, what));
    return await this.manifest(this.#choose(index.manifests), signal);
  }

  async #checkLayout(): Promise<void> {
    const part = await this.#members.find('oci-layout');
    if (!part) {
      throw new NaiadError('IMAGE_NOT_FOUND', `${this.name}: there is no OCI layout here (no file "oci-layout")`);
    }
    const text = Buffer.from(await readMember(part, 64 * KiB, `oci-layout of ${this.name}`)).toString();
    let version: unknown;
    try {
      version = JSON.parse(text)?.imageLayoutVersion;
    } catch {
      // Falls through to the complaint.
    }
    if (typeof version !== 'string' || !version.startsWith('1.')) {
      throw new NaiadError('MANIFEST_INVALID', `${this.name}: its oci-layout is not of version 1`);
    }
  }

  #choose(entries: readonly Descriptor[]): Descriptor {
    const images = entries.filter(({ mediaType }) => isManifestMediaType(mediaType) || isIndexMediaType(mediaType));
    const namesOf = (entry: Descriptor) => NAME_ANNOTATIONS.map((name) => entry.annotations?.[name]);
    const wanted = this.#tag;
    // What refers to an image is not meant, unless there is nothing else.
    const plain = images.filter(({ artifactType }) => artifactType === undefined);
    const unnamed = plain.length > 0 ? plain : images;
    const matching = wanted === undefined ? unnamed : images.filter((entry) => namesOf(entry).includes(wanted));
    const [chosen] = matching;
    if (chosen && (wanted !== undefined || matching.length === 1)) return chosen;
    const names = images.map((entry) => namesOf(entry).find((name) => name) ?? '(no name)');
    const offered = names.length === 0 ? 'it has none' : `it has: ${names.slice(0, 20).join(', ')}`;
    const what = wanted === undefined ? 'which image?' : `no image ${JSON.stringify(wanted)}`;
    throw new NaiadError('IMAGE_NOT_FOUND', `${this.name}: ${what}; ${offered}`, {
      hint: 'Name one behind the path: oci:DIR:TAG.',
    });
  }

  async manifest(
    descriptor: Pick<Descriptor, 'digest'> & Partial<Descriptor>,
    signal?: AbortSignal,
  ): Promise<RawManifest> {
    throwIfAborted(signal);
    const what = `manifest ${descriptor.digest} of ${this.name}`;
    const part = await this.#members.find(blobPath(descriptor.digest));
    if (!part) throw new NaiadError('IMAGE_NOT_FOUND', `${what}: the layout does not have it`);
    const bytes = await readMember(part, MANIFEST_SIZE_MAX, what);
    const digest = sha256Digest(bytes);
    if (digest !== descriptor.digest) {
      throw new NaiadError('DIGEST_MISMATCH', `${what}: the file has digest ${digest}`);
    }
    return { mediaType: documentMediaType(bytes, descriptor.mediaType), digest, bytes };
  }

  async openBlob(descriptor: Pick<Descriptor, 'digest' | 'size'>): Promise<AsyncIterable<Uint8Array>> {
    const part = await this.#findBlob(descriptor.digest);
    const what = `blob ${descriptor.digest} of ${this.name}`;
    if (part.size !== descriptor.size) {
      throw new NaiadError('SIZE_MISMATCH', `${what}: expected ${descriptor.size} bytes, the file has ${part.size}`);
    }
    return verifyStream(streamMember(part), descriptor, what);
  }

  blobReader({ digest }: Pick<Descriptor, 'digest'>): BlobReader {
    const known = this.#readers.get(digest);
    if (known) return known;
    const reader = new PartReader(`${this.name}@${digest}`, () => this.#findBlob(digest));
    this.#readers.set(digest, reader);
    return reader;
  }

  async #findBlob(digest: string): Promise<FilePart> {
    const part = await this.#members.find(blobPath(digest));
    if (part) return part;
    throw new NaiadError('BLOB_NOT_FOUND', `${this.name}: the layout has no blob ${digest}`, {
      hint: 'The image is incomplete here; copy it again.',
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const reader of this.#readers.values()) await reader[Symbol.asyncDispose]();
    this.#readers.clear();
  }
}

/** Where a layout keeps a blob. */
export function blobPath(digest: string): string {
  return `blobs/sha256/${digestHex(digest)}`;
}

/** A BlobReader of a part that is looked for at the first read. */
export class PartReader implements BlobReader, AsyncDisposable {
  readonly name: string;
  readonly #find: () => Promise<FilePart>;
  #reader: Promise<FileReader> | undefined;

  constructor(name: string, find: () => Promise<FilePart>) {
    this.name = name;
    this.#find = find;
  }

  async readAt(range: { readonly offset: number; readonly size: number }, signal?: AbortSignal): Promise<Uint8Array> {
    this.#reader ??= this.#open();
    return await (await this.#reader).readAt(range, signal);
  }

  async #open(): Promise<FileReader> {
    try {
      return new FileReader(await this.#find(), this.name);
    } catch (error) {
      this.#reader = undefined; // What is missing now may be there the next time.
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const reader = await this.#reader?.catch(() => undefined);
    await reader?.[Symbol.asyncDispose]();
  }
}
