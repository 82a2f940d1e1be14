// An OCI layout in one tar file as target. The file is written beside its place and renamed; the same image gives the
// same bytes.
import { createReadStream, createWriteStream } from 'node:fs';
import { open, rename, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { pack as createPack, type Header, type Pack } from 'tar-stream';
import { throwIfAborted } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { systemError } from '../base/system-error.ts';
import { MiB } from '../base/units.ts';
import type { Descriptor, RawManifest } from '../format/oci/manifest.ts';
import { createSpool, type Spool } from '../store/spool.ts';
import { blobPath } from './layout-source.ts';
import { LAYOUT_FILE, layoutIndex, SpooledBlobs } from './layout-store.ts';
import type { ImageTarget, LocalBlob, PutOptions } from './transport.ts';

export class ArchiveTarget implements ImageTarget {
  readonly name: string;
  readonly spoolDir: string;
  readonly #file: string;
  readonly #tag: string | undefined;
  readonly #spool: Spool;
  readonly #blobs: SpooledBlobs;

  private constructor(file: string, tag: string | undefined, spool: Spool) {
    this.name = `oci-archive:${file}${tag === undefined ? '' : `:${tag}`}`;
    this.spoolDir = spool.path;
    this.#file = file;
    this.#tag = tag;
    this.#spool = spool;
    this.#blobs = new SpooledBlobs(spool);
  }

  /**
   * The directory of the file must exist. A file that is there is replaced at commit.
   * @throws NaiadError TARGET_EXISTS when it is no file, PATH_NOT_FOUND, PERMISSION, NO_SPACE, IO
   */
  static async open({ file, tag }: { file: string; tag?: string }): Promise<ArchiveTarget> {
    const found = await stat(file).catch(() => undefined);
    if (found && !found.isFile()) throw new NaiadError('TARGET_EXISTS', `${file}: exists and is no file`);
    return new ArchiveTarget(file, tag, await createSpool(dirname(file)));
  }

  async hasBlob({ digest }: Pick<Descriptor, 'digest' | 'size'>): Promise<boolean> {
    return this.#blobs.has(digest);
  }

  async putBlob(blob: LocalBlob, options: PutOptions = {}): Promise<void> {
    await this.#blobs.takeFile(blob, options);
  }

  async putBytes(
    { digest }: Pick<Descriptor, 'digest' | 'size'>,
    bytes: Uint8Array,
    signal?: AbortSignal,
  ): Promise<void> {
    throwIfAborted(signal);
    await this.#blobs.takeBytes(digest, bytes);
  }

  async putStream(
    descriptor: Pick<Descriptor, 'digest' | 'size'>,
    open: () => AsyncIterable<Uint8Array>,
    options: PutOptions = {},
  ): Promise<void> {
    await this.#blobs.takeStream(descriptor, open, options);
  }

  async putManifest(manifest: RawManifest, signal?: AbortSignal): Promise<void> {
    await this.putBytes({ digest: manifest.digest, size: manifest.bytes.length }, manifest.bytes, signal);
    this.#blobs.noteReferrer(manifest);
  }

  async commit(manifest: RawManifest, signal?: AbortSignal): Promise<void> {
    await this.putManifest(manifest, signal);
    const unfinished = join(this.#spool.path, 'archive.tar');
    const pack = createPack();
    try {
      const output = createWriteStream(unfinished, { highWaterMark: 1 * MiB });
      const filling = this.#fill(pack, manifest).catch((error) => pack.destroy(error));
      try {
        await pipeline(pack, output, signal ? { signal } : {});
      } finally {
        await filling;
      }
      await using file = await open(unfinished, 'r+');
      await file.datasync();
      await rename(unfinished, this.#file);
    } catch (error) {
      throwIfAborted(signal);
      throw systemError(error, `writing ${this.#file}`);
    }
  }

  /** Directories, the two documents, then the blobs by digest. */
  async #fill(pack: Pack, manifest: RawManifest): Promise<void> {
    const index = layoutIndex(this.#blobs.entriesFor(manifest, this.#tag));
    await addBytes(pack, 'oci-layout', LAYOUT_FILE);
    await addBytes(pack, 'index.json', index);
    for (const name of ['blobs/', 'blobs/sha256/']) {
      pack.entry({ ...HEADER, name, type: 'directory', mode: 0o755 });
    }
    for (const digest of this.#blobs.digests) {
      const header = { ...HEADER, name: blobPath(digest), size: this.#blobs.sizeOf(digest) };
      const path = this.#blobs.pathOf(digest);
      await pipeline(createReadStream(path, { highWaterMark: 1 * MiB }), pack.entry(header) as NodeJS.WritableStream);
    }
    pack.finalize();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#spool[Symbol.asyncDispose]();
  }
}

const HEADER = { mode: 0o644, uid: 0, gid: 0, mtime: new Date(0), type: 'file' } as const satisfies Partial<Header>;

async function addBytes(pack: Pack, name: string, bytes: Uint8Array): Promise<void> {
  pack.entry({ ...HEADER, name, size: bytes.length }).end(bytes);
}
