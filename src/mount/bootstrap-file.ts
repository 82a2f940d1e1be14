// A bootstrap as a file that the kernel can mount: <cache>/bootstraps/<sha256>, shared by all mounts of the image.
import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { systemError } from '../base/system-error.ts';
import { CACHE_HINT } from '../cache/cache-files.ts';
import { createStreamHash } from '../native/stream-hash.ts';
import { bootstrapFile } from '../store/paths.ts';

/** The path of a file that holds exactly `bytes`. One that is there, maybe cut short by a power failure, is compared, and
 *  replaced when it differs; so nothing waits for the disk here. */
export async function storeBootstrap(cache: string, bytes: Uint8Array): Promise<string> {
  const hash = createStreamHash();
  hash.push(bytes);
  await hash.settled();
  const path = bootstrapFile(cache, hash.digest().toString('hex'));
  try {
    const there = await readFile(path).catch((error) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (there?.equals(bytes)) return path;
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
    try {
      await using file = await open(temporary, 'w', 0o600);
      await file.writeFile(bytes);
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
    return path;
  } catch (error) {
    throw systemError(error, path, CACHE_HINT);
  }
}
