// Named pieces of data on local disk: the files of a directory, or the members of an uncompressed tar, which is read
// through once to find them and then read anywhere.
import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { extract, type Header } from 'tar-stream';
import { type FilePart, FileReader } from '../backend/file-reader.ts';
import { NaiadError } from '../base/errors.ts';
import { ARCHIVE_MEMBERS_MAX } from '../base/limits.ts';
import { systemError } from '../base/system-error.ts';
import { MiB } from '../base/units.ts';

export interface Members {
  /** A member by its path, without `./` in front; undefined when there is none. */
  find(path: string): Promise<FilePart | undefined>;
}

/** Files below `root`. Paths are ours or checked: none leaves it. */
export function directoryMembers(root: string): Members {
  return {
    async find(path) {
      const full = join(root, path);
      try {
        const status = await stat(full);
        return status.isFile() ? { path: full, offset: 0, size: status.size } : undefined;
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
        throw systemError(error, `reading ${full}`);
      }
    },
  };
}

/**
 * Members of a tar. Links between members are followed, as old `docker save` writes them for layers that repeat.
 * @throws NaiadError PATH_NOT_FOUND, ARCHIVE_INVALID, ARCHIVE_UNSUPPORTED when it is compressed, LIMIT_EXCEEDED
 */
export async function tarMembers(file: string, signal?: AbortSignal): Promise<Members> {
  await refuseCompressed(file);
  const parts = new Map<string, FilePart>();
  const links = new Map<string, string>();
  const index = extract();
  index.on('entry', (header: Header & { byteOffset?: number }, body, next) => {
    const name = normalise(header.name);
    const { byteOffset = 0, size = 0, linkname } = header;
    if (parts.size + links.size >= ARCHIVE_MEMBERS_MAX) {
      next(new NaiadError('LIMIT_EXCEEDED', `${file}: more than ${ARCHIVE_MEMBERS_MAX} members`));
      return;
    }
    if (!Number.isSafeInteger(byteOffset + size) || size < 0) {
      next(new NaiadError('ARCHIVE_INVALID', `${file}: member ${JSON.stringify(name)} has no valid size`));
      return;
    }
    parts.delete(name);
    links.delete(name);
    if (header.type === 'file') parts.set(name, { path: file, offset: byteOffset, size });
    else if (header.type === 'link' && linkname) links.set(name, normalise(linkname));
    else if (header.type === 'symlink' && linkname) links.set(name, normalise(join(name, '..', linkname)));
    // The end of a broken archive is reported by both streams; the pipeline's is the one that counts.
    body.on('error', () => {});
    body.on('end', next);
    body.resume();
  });
  try {
    await pipeline(createReadStream(file, { highWaterMark: 1 * MiB }), index, { ...(signal ? { signal } : {}) });
  } catch (error) {
    if (signal?.aborted) throw new NaiadError('CANCELED', 'interrupted', { cause: error });
    if (error instanceof NaiadError) throw error;
    if ((error as NodeJS.ErrnoException).syscall) throw systemError(error, `reading ${file}`);
    throw new NaiadError('ARCHIVE_INVALID', `${file}: ${(error as Error).message}`, { cause: error });
  }
  return {
    find: async (path) => {
      let name = normalise(path);
      for (let depth = 0; depth < LINKS_MAX; depth++) {
        const part = parts.get(name);
        if (part) return part;
        const target = links.get(name);
        if (target === undefined) return undefined;
        name = target;
      }
      return undefined;
    },
  };
}

const LINKS_MAX = 8;

function normalise(path: string): string {
  return path.replace(/^(?:\.?\/)+/, '').replace(/\/+$/, '');
}

const MAGICS: readonly (readonly [name: string, magic: Buffer, command: string])[] = [
  ['gzip', Buffer.from([0x1f, 0x8b]), 'gunzip'],
  ['zstd', Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), 'unzstd'],
  ['xz', Buffer.from([0xfd, 0x37, 0x7a, 0x58]), 'unxz'],
  ['bzip2', Buffer.from('BZh'), 'bunzip2'],
];

/** Only an uncompressed tar can be read anywhere. */
async function refuseCompressed(path: string): Promise<void> {
  const head = Buffer.alloc(4);
  try {
    const file = await open(path);
    try {
      await file.read(head, 0, head.length, 0);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw systemError(error, `reading ${path}`);
  }
  const found = MAGICS.find(([, magic]) => head.subarray(0, magic.length).equals(magic));
  if (found) {
    throw new NaiadError('ARCHIVE_UNSUPPORTED', `${path}: the archive is compressed with ${found[0]}`, {
      hint: `Decompress it first: ${found[2]} ${path}`,
    });
  }
}

/** The bytes of a member. Opens the file when it is read. */
export function streamMember(part: FilePart): AsyncIterable<Uint8Array> {
  if (part.size === 0) return emptyStream();
  const range = { start: part.offset, end: part.offset + part.size - 1 };
  return createReadStream(part.path, { ...range, highWaterMark: 1 * MiB });
}

async function* emptyStream(): AsyncGenerator<Uint8Array, void, void> {}

/** A small member whole. @throws NaiadError LIMIT_EXCEEDED */
export async function readMember(part: FilePart, sizeMax: number, what: string): Promise<Uint8Array> {
  if (part.size > sizeMax) {
    throw new NaiadError('LIMIT_EXCEEDED', `${what}: ${part.size} bytes, at most ${sizeMax} are read`);
  }
  await using reader = new FileReader(part, what);
  return await reader.readAt({ offset: 0, size: part.size });
}
