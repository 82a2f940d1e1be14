// Blobs on their way into an OCI layout: finished files wait in a spool, under the digest they will have, until the image
// is whole.

import { constants, createWriteStream } from 'node:fs';
import { copyFile, open, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { throwIfAborted } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { systemError } from '../base/system-error.ts';
import { MiB } from '../base/units.ts';
import { digestHex } from '../format/oci/digest.ts';
import { descriptorOf } from '../format/oci/documents.ts';
import { type Descriptor, parseDocument, type RawManifest } from '../format/oci/manifest.ts';
import { referrerOf } from '../format/oci/referrer.ts';
import type { Spool } from '../store/spool.ts';
import { REF_NAME } from './layout-source.ts';
import type { LocalBlob, PutOptions } from './transport.ts';

/** What an image of a layout is listed with. */
export interface LayoutEntry {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Of what refers to another manifest, and is no image. */
  readonly artifactType?: string;
}

export class SpooledBlobs {
  readonly #spool: Spool;
  readonly #sizes = new Map<string, number>();
  readonly #referrers = new Map<string, LayoutEntry>();

  constructor(spool: Spool) {
    this.#spool = spool;
  }

  /** Digests in order, so that what is made of them is the same each time. */
  get digests(): readonly string[] {
    return [...this.#sizes.keys()].sort();
  }

  has(digest: string): boolean {
    return this.#sizes.has(digest);
  }

  pathOf(digest: string): string {
    return join(this.#spool.path, digestHex(digest));
  }

  sizeOf(digest: string): number {
    return this.#sizes.get(digest) ?? 0;
  }

  /** Takes a file by rename when it is in the spool, else by copy. Its bytes are on disk when this returns. */
  async takeFile({ path, descriptor }: LocalBlob, { signal, onProgress }: PutOptions): Promise<void> {
    throwIfAborted(signal);
    const { digest, size } = descriptor;
    if (!this.has(digest)) {
      const target = this.pathOf(digest);
      try {
        const found = await stat(path);
        if (found.size !== size) {
          throw new NaiadError('SIZE_MISMATCH', `${path}: expected ${size} bytes, the file has ${found.size}`);
        }
        if (path.startsWith(this.#spool.path + sep)) await rename(path, target);
        else await copyFile(path, target, constants.COPYFILE_FICLONE);
        await syncFile(target);
      } catch (error) {
        throw systemError(error, `keeping blob ${digest}`);
      }
      this.#sizes.set(digest, size);
    }
    onProgress?.(size);
  }

  /** Takes a stream, whose digest is verified as it is read. Its bytes are on disk when this returns. */
  async takeStream(
    { digest, size }: LocalBlob['descriptor'],
    open: () => AsyncIterable<Uint8Array>,
    { signal, onProgress }: PutOptions,
  ): Promise<void> {
    if (!this.has(digest)) {
      const target = this.pathOf(digest);
      let done = 0;
      const counted = async function* () {
        for await (const piece of open()) {
          yield piece;
          done += piece.length;
          onProgress?.(done);
        }
      };
      try {
        await pipeline(counted, createWriteStream(target, { highWaterMark: 1 * MiB }), signal ? { signal } : {});
        await syncFile(target);
      } catch (error) {
        await rm(target, { force: true });
        throwIfAborted(signal);
        throw systemError(error, `keeping blob ${digest}`);
      }
      this.#sizes.set(digest, size);
    }
    onProgress?.(size);
  }

  async takeBytes(digest: string, bytes: Uint8Array): Promise<void> {
    if (this.has(digest)) return;
    await writeDurably(this.pathOf(digest), bytes);
    this.#sizes.set(digest, bytes.length);
  }

  /** Remembers a manifest that refers to another one: what an index does not list, nobody finds. */
  noteReferrer({ bytes, mediaType, digest }: RawManifest): void {
    const referrer = referrerOf(parseDocument(bytes, mediaType), { digest, size: bytes.length });
    if (!referrer) return;
    // Its annotations may hold a name.
    const { annotations: _, ...entry } = referrer.descriptor;
    this.#referrers.set(digest, entry);
  }

  /** What the index of the layout lists for an image `root` and what refers to it. */
  entriesFor(root: RawManifest, tag: string | undefined): LayoutEntry[] {
    const referrers = [...this.#referrers.values()].filter(({ digest }) => digest !== root.digest);
    const annotations = tag === undefined ? {} : { annotations: { [REF_NAME]: tag } };
    return [{ ...descriptorOf(root), ...annotations }, ...referrers];
  }

  forget(digest: string): void {
    this.#sizes.delete(digest);
  }
}

async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.datasync();
  } finally {
    await file.close();
  }
}

/** Writes a file and waits until it is on disk. @throws NaiadError NO_SPACE, PERMISSION, IO */
export async function writeDurably(path: string, bytes: Uint8Array): Promise<void> {
  try {
    await writeFile(path, bytes);
    await syncFile(path);
  } catch (error) {
    throw systemError(error, `writing ${path}`);
  }
}

export const LAYOUT_FILE = Buffer.from('{"imageLayoutVersion":"1.0.0"}');

/** The index of a layout that holds `entries`; fields of `previous` that are not ours are kept. */
export function layoutIndex(entries: readonly unknown[], previous: object = {}): Buffer {
  return Buffer.from(JSON.stringify({ schemaVersion: 2, ...previous, manifests: entries }));
}

/** The name under which an entry of an index is listed, if any. */
export function entryName(entry: unknown): string | undefined {
  const name = (entry as Partial<Descriptor> | null)?.annotations?.[REF_NAME];
  return typeof name === 'string' ? name : undefined;
}

/** True for an entry that is listed because it refers to another one: it has no name, and says what it is. */
export function isReferrer(entry: unknown): boolean {
  const { artifactType } = (entry ?? {}) as Partial<LayoutEntry>;
  return entryName(entry) === undefined && artifactType !== undefined;
}
