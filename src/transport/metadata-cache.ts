// Configs and bootstrap layers kept on disk by digest, so that an image that was mounted before is mounted again without
// fetching them. What is kept was verified when it came, and is verified again before it is used.
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { MiB } from '../base/units.ts';
import { digestHex } from '../format/oci/digest.ts';
import type { Descriptor } from '../format/oci/manifest.ts';
import { createSpool } from '../store/spool.ts';
import type { ImageSource } from './transport.ts';

type Blob = Pick<Descriptor, 'digest' | 'size'>;

export interface MetadataSource extends ImageSource {
  /** Bytes of blobs that were here already, and so not fetched. */
  readonly keptBytes: number;
}

/** `source` with its blobs kept below `directory`. For small ones that are read whole: the blobs of files have caches. */
export function withMetadataCache(source: ImageSource, directory: string): MetadataSource {
  let keptBytes = 0;
  return {
    get keptBytes() {
      return keptBytes;
    },
    name: source.name,
    get traffic() {
      return source.traffic;
    },
    rootManifest: (signal) => source.rootManifest(signal),
    manifest: (descriptor, signal) => source.manifest(descriptor, signal),
    blobReader: (descriptor) => source.blobReader(descriptor),
    ...(source.referrers && { referrers: source.referrers.bind(source) }),
    async openBlob(descriptor, signal) {
      const path = join(directory, digestHex(descriptor.digest));
      if (await isIntact(path, descriptor)) {
        keptBytes += descriptor.size;
        return createReadStream(path, { highWaterMark: 1 * MiB });
      }
      return keep(await source.openBlob(descriptor, signal), directory, path);
    },
    [Symbol.asyncDispose]: () => source[Symbol.asyncDispose](),
  };
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
