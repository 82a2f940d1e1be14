// An OCI layout as target. Until commit all there is of an image is a spool; then its blobs are renamed into place, and
// index.json, which makes them an image, is replaced last.
import { mkdir, readdir, readFile, rename, rmdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { throwIfAborted } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { MANIFEST_SIZE_MAX } from '../base/limits.ts';
import { systemError } from '../base/system-error.ts';
import { type Descriptor, parseIndex, type RawManifest } from '../format/oci/manifest.ts';
import { makeDirectories } from '../store/directories.ts';
import { createSpool, isSpoolName, type Spool } from '../store/spool.ts';
import { blobPath } from './layout-source.ts';
import {
  entryName,
  isReferrer,
  LAYOUT_FILE,
  type LayoutEntry,
  layoutIndex,
  SpooledBlobs,
  writeDurably,
} from './layout-store.ts';
import type { ImageTarget, LocalBlob, PutOptions } from './transport.ts';

export class LayoutTarget implements ImageTarget {
  readonly name: string;
  readonly spoolDir: string;
  readonly #directory: string;
  readonly #tag: string | undefined;
  readonly #spool: Spool;
  readonly #blobs: SpooledBlobs;
  /** The outermost directory that was made for this target. */
  readonly #made: string | undefined;

  private constructor(directory: string, tag: string | undefined, spool: Spool, made: string | undefined) {
    this.name = `oci:${directory}${tag === undefined ? '' : `:${tag}`}`;
    this.spoolDir = spool.path;
    this.#directory = directory;
    this.#tag = tag;
    this.#spool = spool;
    this.#blobs = new SpooledBlobs(spool);
    this.#made = made;
  }

  /**
   * Makes the directory when it is missing. Without a tag the image gets no name and replaces the one without a name.
   * @throws NaiadError TARGET_EXISTS when there is something else, PERMISSION, NO_SPACE, IO
   */
  static async open({ directory, tag }: { directory: string; tag?: string }): Promise<LayoutTarget> {
    let made: string | undefined;
    try {
      made = await makeDirectories(directory);
      await checkDirectory(directory);
    } catch (error) {
      throw systemError(error, `making the layout ${directory}`);
    }
    return new LayoutTarget(directory, tag, await createSpool(directory), made);
  }

  async hasBlob({ digest, size }: Pick<Descriptor, 'digest' | 'size'>): Promise<boolean> {
    if (this.#blobs.has(digest)) return true;
    const found = await stat(this.#blobPath(digest)).catch(() => undefined);
    return found?.isFile() === true && found.size === size;
  }

  async putBlob(blob: LocalBlob, options: PutOptions = {}): Promise<void> {
    if (await this.hasBlob(blob.descriptor)) options.onProgress?.(blob.descriptor.size);
    else await this.#blobs.takeFile(blob, options);
  }

  async putBytes(
    descriptor: Pick<Descriptor, 'digest' | 'size'>,
    bytes: Uint8Array,
    signal?: AbortSignal,
  ): Promise<void> {
    throwIfAborted(signal);
    if (!(await this.hasBlob(descriptor))) await this.#blobs.takeBytes(descriptor.digest, bytes);
  }

  async putStream(
    descriptor: Pick<Descriptor, 'digest' | 'size'>,
    open: () => AsyncIterable<Uint8Array>,
    options: PutOptions = {},
  ): Promise<void> {
    if (await this.hasBlob(descriptor)) options.onProgress?.(descriptor.size);
    else await this.#blobs.takeStream(descriptor, open, options);
  }

  async putManifest(manifest: RawManifest, signal?: AbortSignal): Promise<void> {
    await this.putBytes({ digest: manifest.digest, size: manifest.bytes.length }, manifest.bytes, signal);
    this.#blobs.noteReferrer(manifest);
  }

  async commit(manifest: RawManifest, signal?: AbortSignal): Promise<void> {
    await this.putManifest(manifest, signal);
    try {
      await mkdir(join(this.#directory, 'blobs', 'sha256'), { recursive: true });
      for (const digest of this.#blobs.digests) {
        await rename(this.#blobs.pathOf(digest), this.#blobPath(digest));
        this.#blobs.forget(digest);
      }
      await this.#publish('oci-layout', LAYOUT_FILE);
      await this.#publish('index.json', await this.#nextIndex(manifest));
    } catch (error) {
      throw systemError(error, `writing the layout ${this.#directory}`);
    }
  }

  async #publish(name: string, bytes: Uint8Array): Promise<void> {
    const unfinished = join(this.#spool.path, name);
    await writeDurably(unfinished, bytes);
    await rename(unfinished, join(this.#directory, name));
  }

  /** The index with this image in it, and what refers to it: other images stay, one of the same name goes. */
  async #nextIndex(manifest: RawManifest): Promise<Buffer> {
    const entries = this.#blobs.entriesFor(manifest, this.#tag);
    const path = join(this.#directory, 'index.json');
    const bytes = await readFile(path).catch(ifMissing);
    if (bytes === undefined) return layoutIndex(entries);
    if (bytes.length > MANIFEST_SIZE_MAX) throw new NaiadError('LIMIT_EXCEEDED', `${path}: ${bytes.length} bytes`);
    // As it stands there, with whatever other tools keep in it.
    const { raw } = parseIndex(bytes);
    const [, ...referrers] = entries;
    const isReplaced = (other: unknown) =>
      isReferrer(other)
        ? referrers.some(({ digest }) => digest === (other as LayoutEntry).digest)
        : entryName(other) === this.#tag;
    const others = (raw.manifests as unknown[]).filter((other) => !isReplaced(other));
    return layoutIndex([...others, ...entries], raw);
  }

  #blobPath(digest: string): string {
    return join(this.#directory, blobPath(digest));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#spool[Symbol.asyncDispose]();
    if (this.#made === undefined) return;
    // Directories made for an image that never came. What holds anything is not removed by rmdir.
    const outermost = resolve(this.#made);
    for (let path = resolve(this.#directory); ; path = dirname(path)) {
      const removed = await rmdir(path).then(
        () => true,
        () => false,
      );
      if (!removed || path === outermost) return;
    }
  }
}

function ifMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT') return undefined;
  throw error;
}

/** A layout, or a directory in which there is nothing yet. */
async function checkDirectory(directory: string): Promise<void> {
  const names = (await readdir(directory)).filter((name) => !isSpoolName(name));
  if (names.length === 0 || names.includes('oci-layout')) return;
  // Blobs may be there before the first image: a commit that was killed between its renames.
  if (names.every((name) => name === 'blobs')) return;
  throw new NaiadError('TARGET_EXISTS', `${directory}: there is something else, no OCI layout`, {
    hint: 'Name a new directory, or one that holds an OCI layout.',
  });
}
