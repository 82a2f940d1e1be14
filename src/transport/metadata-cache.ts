// Manifests, configs and bootstrap layers kept on disk by digest, so that an image that was mounted before is mounted again
// without fetching the large ones, and a mount is taken over by the next daemon though its registry is down. What is kept was verified when it came, and is verified again before it is used.
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { NaiadError } from '../base/errors.ts';
import { MANIFEST_SIZE_MAX } from '../base/limits.ts';
import { MiB } from '../base/units.ts';
import { digestHex, sha256Digest } from '../format/oci/digest.ts';
import { type Descriptor, documentMediaType, type RawManifest } from '../format/oci/manifest.ts';
import { isIndexMediaType } from '../format/oci/media-types.ts';
import { createSpool } from '../store/spool.ts';
import type { ImageSource } from './transport.ts';

type Blob = Pick<Descriptor, 'digest' | 'size'>;

export interface MetadataSource extends ImageSource {
  /** Bytes of blobs that were here already, and so not fetched. */
  readonly keptBytes: number;
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
  const manifestOf = async (digest: string | undefined, fetch: () => Promise<RawManifest>): Promise<RawManifest> => {
    const kept = async () => (digest === undefined ? undefined : await keptManifest(directory, digest));
    const first = keptFirst ? await kept() : undefined;
    if (first) return first;
    try {
      const fetched = await fetch();
      // An index leads to what is kept, and is not needed itself.
      if (!isIndexMediaType(fetched.mediaType)) await keepManifest(directory, fetched);
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
      if (await isIntact(path, descriptor)) {
        keptBytes += descriptor.size;
        await touch(path);
        return createReadStream(path, { highWaterMark: 1 * MiB });
      }
      return keep(await source.openBlob(descriptor, signal), directory, path);
    },
    [Symbol.asyncDispose]: () => source[Symbol.asyncDispose](),
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
  for await (const _ of keep(Readable.from([bytes]), directory, path));
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

/**
 * Passes `bytes` on and keeps them under `path` once they have all come; the source errors before the end when they are
 * wrong. That they cannot be kept (no room, no permission) is no failure: they are fetched again the next time.
 */
async function* keep(bytes: AsyncIterable<Uint8Array>, directory: string, path: string): AsyncGenerator<Uint8Array> {
  let file: FileHandle | undefined;
  const given = async <T>(step: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await step();
    } catch {
      return undefined;
    }
  };
  const spool = await given(async () => {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    return await createSpool(directory);
  });
  const unfinished = spool === undefined ? undefined : join(spool.path, randomBytes(6).toString('hex'));
  try {
    if (unfinished) file = await given(() => open(unfinished, 'wx', 0o600));
    let whole = file !== undefined;
    for await (const piece of bytes) {
      whole &&= (await given(async () => await file?.writeFile(piece).then(() => true))) === true;
      yield piece;
    }
    await file?.close();
    file = undefined;
    if (whole && unfinished) await given(() => rename(unfinished, path));
  } finally {
    await file?.close();
    await spool?.[Symbol.asyncDispose]();
  }
}
