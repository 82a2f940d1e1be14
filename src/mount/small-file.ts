// Small files of an image that naiad itself reads, as /etc/passwd. Symlinks stay inside the image.
import { hasCode, NaiadError } from '../base/errors.ts';
import { MiB } from '../base/units.ts';
import { parsePath, resolvePath } from '../image/image-path.ts';
import { S_IFMT, S_IFREG } from '../image/tree.ts';
import type { ImageFs } from './image-fs.ts';

const SMALL_FILE_SIZE_MAX = 4 * MiB;

/** The file at `path`; undefined when there is none. @throws NaiadError LIMIT_EXCEEDED, what reading throws. */
export async function readSmallFile(fs: ImageFs, path: string): Promise<Buffer | undefined> {
  let nid: number;
  try {
    nid = resolvePath(fs.bootstrap, parsePath(path), { followLast: true }).nid;
  } catch (error) {
    if (hasCode(error, 'PATH_NOT_FOUND')) return undefined;
    throw error;
  }
  const { mode, size } = fs.bootstrap.inode(nid);
  if ((mode & S_IFMT) !== S_IFREG) return undefined;
  if (size > SMALL_FILE_SIZE_MAX) throw new NaiadError('LIMIT_EXCEEDED', `${path} in the image has ${size} bytes`);
  const buffer = Buffer.alloc(size);
  await fs.read(nid, 0, buffer);
  return buffer;
}
