// Manifests, configs and bootstrap layers kept on disk by digest, so that an image that was mounted before is mounted again
// without fetching the large ones, and a mount is taken over by the next daemon though its registry is down. What is kept was verified when it came, and is verified again before it is used.
import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { type FileHandle, mkdir, open, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { NaiadError } from '../base/errors.ts';
import { MANIFEST_SIZE_MAX } from '../base/limits.ts';
import { MiB } from '../base/units.ts';
import { digestHex, sha256Digest } from '../format/oci/digest.ts';
import { type Descriptor, documentMediaType, type RawManifest } from '../format/oci/manifest.ts';
import { isIndexMediaType } from '../format/oci/media-types.ts';
import { createSpool, type Spool } from '../store/spool.ts';
import type { ImageSource } from './transport.ts';

type Blob = Pick<Descriptor, 'digest' | 'size'>;

export interface MetadataSource extends ImageSource {
  /** Bytes of blobs that were here already, and so not fetched. */
  readonly keptBytes: number;
  /** Resolves once all that has come is kept, or cannot be. */
  kept(): Promise<void>;
}

export interface MetadataOptions {
  readonly directory: string;
  /** Of what the reference names, where it says so itself. */
  readonly rootDigest?: string | undefined;
  /** Manifests that are here are not asked for. Else they serve where the registry fails. */
  readonly keptFirst?: boolean | undefined;
}

/** `source` with its metadata kept below a directory. For blobs that are read whole: those of files have caches. */
export function withMetadataCache(source: ImageSource, options: MetadataOptions): MetadataSource {
  const { directory, rootDigest, keptFirst = false } = options;
  let keptBytes = 0;
  // Whoever reads does not wait for the disk. Files get their names first; what is left behind is removed before the end.
  const [naming, removing] = [new Beside(), new Beside()];
  const unfinished = new Set<UnfinishedFile>();
  const end = (file: UnfinishedFile, isWhole: boolean) => {
    unfinished.delete(file);
    const named = file.end(isWhole);
    naming.run(named);
    removing.run(named.finally(() => file[Symbol.asyncDispose]()));
  };
  const manifestOf = async (digest: string | undefined, fetch: () => Promise<RawManifest>): Promise<RawManifest> => {
    const kept = async () => (digest === undefined ? undefined : await keptManifest(directory, digest));
    const first = keptFirst ? await kept() : undefined;
    if (first) return first;
    try {
      const fetched = await fetch();
      // An index leads to what is kept, and is not needed itself.
      if (!isIndexMediaType(fetched.mediaType)) naming.run(keepManifest(directory, fetched));
      return fetched;
    } catch (error) {
      const last = error instanceof NaiadError && error.kind === 'unavailable' ? await kept() : undefined;
      if (last) return last;
      throw error;
    }
  };
  return {
    get keptBytes() {
      return keptBytes;
    },
    kept: () => naming.settled(),
    name: source.name,
    get traffic() {
      return source.traffic;
    },
    rootManifest: (signal) => manifestOf(rootDigest, () => source.rootManifest(signal)),
    manifest: (descriptor, signal) => manifestOf(descriptor.digest, () => source.manifest(descriptor, signal)),
    blobReader: (descriptor) => source.blobReader(descriptor),
    // What is kept needs none.
    ...(source.connectAhead && !keptFirst && { connectAhead: source.connectAhead.bind(source) }),
    ...(source.referrers && { referrers: source.referrers.bind(source) }),
    async openBlob(descriptor, signal) {
      const path = join(directory, digestHex(descriptor.digest));
      // Looked for at once: of several requests the first gets the connection that is open.
      if (existsSync(path) && (await isIntact(path, descriptor))) {
        keptBytes += descriptor.size;
        await touch(path);
        return createReadStream(path, { highWaterMark: 1 * MiB });
      }
      const file = new UnfinishedFile(directory, path); // It is made while the blob is asked for.
      unfinished.add(file);
      try {
        return keep(await source.openBlob(descriptor, signal), file, (isWhole) => end(file, isWhole));
      } catch (error) {
        end(file, false);
        throw error;
      }
    },
    async [Symbol.asyncDispose]() {
      for (const file of unfinished) end(file, false); // Of what was asked for, and not read.
      await naming.settled();
      await removing.settled();
      await source[Symbol.asyncDispose]();
    },
  };
}

/** A manifest that is here and intact. */
async function keptManifest(directory: string, digest: string): Promise<RawManifest | undefined> {
  const path = join(directory, digestHex(digest));
  try {
    const { size } = await stat(path);
    if (size > MANIFEST_SIZE_MAX || !(await isIntact(path, { digest, size }))) return undefined;
    const bytes = await readFile(path);
    if (sha256Digest(bytes) !== digest) return undefined;
    await touch(path);
    return { mediaType: documentMediaType(bytes), digest, bytes };
  } catch {
    return undefined;
  }
}

/** That it cannot be kept is no failure. */
async function keepManifest(directory: string, { digest, bytes }: RawManifest): Promise<void> {
  const path = join(directory, digestHex(digest));
  if ((await stat(path).catch(() => undefined))?.size === bytes.length) return await touch(path);
  await using file = new UnfinishedFile(directory, path);
  await file.write(bytes);
  await file.end(true);
}

/** What was used lately is removed last. */
async function touch(path: string): Promise<void> {
  const now = new Date();
  await utimes(path, now, now).catch(() => undefined);
}

/** True when the file is there with the size and digest it should have; one that has not is removed. */
async function isIntact(path: string, { digest, size }: Blob): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isFile()) return false;
  const hash = createHash('sha256');
  try {
    if (found.size === size) for await (const piece of createReadStream(path)) hash.update(piece as Uint8Array);
    if (hash.digest('hex') === digestHex(digest)) return true;
  } catch {
    // As good as not there.
  }
  await rm(path, { force: true }).catch(() => undefined);
  return false;
}

/** Passes `bytes` on and writes them to `file`; `onEnd` is told whether all have come: the source errors before that when they are wrong. */
async function* keep(
  bytes: AsyncIterable<Uint8Array>,
  file: UnfinishedFile,
  onEnd: (isWhole: boolean) => void,
): AsyncGenerator<Uint8Array> {
  let isWhole = false;
  try {
    for await (const piece of bytes) {
      await file.write(piece);
      yield piece;
    }
    isWhole = true;
  } finally {
    onEnd(isWhole);
  }
}

/**
 * A file that gets its name once it is whole. That it cannot be kept (no room, no permission) is no failure: it is fetched again the
 * next time.
 */
class UnfinishedFile implements AsyncDisposable {
  readonly #path: string;
  readonly #made: Promise<{ readonly spool: Spool; readonly file: FileHandle } | undefined>;
  #isWritten = true;

  constructor(directory: string, path: string) {
    this.#path = path;
    this.#made = make(directory).catch(() => undefined);
  }

  async write(bytes: Uint8Array): Promise<void> {
    const made = await this.#made;
    if (!made || !this.#isWritten) return;
    await made.file.writeFile(bytes).catch(() => {
      this.#isWritten = false;
    });
  }

  /** Nothing is written any more; where that `isWhole`, it gets its name. */
  async end(isWhole: boolean): Promise<void> {
    const made = await this.#made;
    await made?.file.close();
    if (made && isWhole && this.#isWritten)
      await rename(join(made.spool.path, NAME), this.#path).catch(() => undefined);
  }

  /** After the end: removes what is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#made)?.spool[Symbol.asyncDispose]();
  }
}

const NAME = 'unfinished';

async function make(directory: string): Promise<{ spool: Spool; file: FileHandle }> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const spool = await createSpool(directory);
  try {
    return { spool, file: await open(join(spool.path, NAME), 'wx', 0o600) };
  } catch (error) {
    await spool[Symbol.asyncDispose]();
    throw error;
  }
}

/** What goes on while others do something else. */
class Beside {
  readonly #steps = new Set<Promise<void>>();

  /** That it fails is of no consequence. */
  run(step: Promise<void>): void {
    const ended = step.catch(() => undefined).then(() => void this.#steps.delete(ended));
    this.#steps.add(ended);
  }

  /** Resolves when all is done that has begun. */
  async settled(): Promise<void> {
    await Promise.all(this.#steps);
  }
}
