// Opening the two files of a cached blob as one pair: sparse data, and the map that says what of it is there.
//
// Several processes may share a cache directory, and images that trust nobody else's registry may name the same blob.
// Two rules make that safe without a lock:
//   1. A data file is created exclusively, together with a map that names it (inode and birth time).
//   2. A data file is only used through a map that names it, and whose claims (place and digest of each chunk) include
//      all that the image at hand says.
// So whoever writes into a data file writes the same verified bytes, and a file put in place of another, a restored
// copy or a map of some other version is never believed. An image that contradicts the claims gets files of its own.
import { createHash } from 'node:crypto';
import { type BigIntStats, constants, readFileSync } from 'node:fs';
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { short } from '../base/bytes.ts';
import { NaiadError } from '../base/errors.ts';
import { systemError } from '../base/system-error.ts';
import type { Device } from '../image/device.ts';
import { ChunkMapFile, type MapIdentity } from './chunk-map-file.ts';
import { claimsOf, mergeClaims } from './claims.ts';

export interface BlobFiles {
  readonly data: string;
  readonly map: string;
}

/** Where the files of a blob are; `variant` tells apart images that contradict each other. */
export type FilesOf = (blobId: string, variant?: string) => BlobFiles;

export interface OpenedFiles {
  readonly files: BlobFiles;
  /** Open for reading and writing; as long as the device. */
  readonly data: FileHandle;
  readonly map: ChunkMapFile;
}

/** What to do about a full disk or a directory that may not be written. */
export const CACHE_HINT = 'Free space there, or choose another cache directory with --cache or NAIAD_CACHE.';

/** Another process that is creating the same pair needs far less. */
const CREATION_WAIT_MS = 1000;
const OPEN_ATTEMPTS_MAX = 8;
/** Nobody keeps others out for longer than it takes to remove a file or to rewrite a bitmap. */
const BUSY_WAIT_MS = 10_000;

/**
 * Opens the files of `device`, creating what is missing and starting anew what cannot be trusted. The caller owns both.
 * @throws NaiadError NO_SPACE, PERMISSION, IO; CACHE_INVALID when others keep replacing the files.
 */
export async function openCacheFiles(device: Device, filesOf: FilesOf, bootId: string): Promise<OpenedFiles> {
  const claims = claimsOf(device);
  if (!mergeClaims(new Uint8Array(0), claims)) {
    throw new NaiadError('BLOB_INVALID', `blob ${short(device.blobId)}: chunks overlap on its device`);
  }
  const identity: MapIdentity = {
    blobId: device.blobId,
    chunkCount: device.chunks.count,
    deviceSize: device.size,
    claims,
  };
  let files = filesOf(device.blobId);
  try {
    await mkdir(dirname(files.data), { recursive: true, mode: 0o700 });
    for (let attempt = 0; attempt < OPEN_ATTEMPTS_MAX; attempt++) {
      const found = await openPairWhenFinished(files, identity, bootId);
      if (found.state === 'found') return { files, data: found.data, map: found.map };
      if (found.state === 'conflict') files = filesOf(device.blobId, variantOf(identity));
      else {
        if (found.state === 'broken') await retire(files);
        await createPair(files, identity, bootId);
      }
    }
  } catch (error) {
    throw systemError(error, `cache file ${files.data}`, CACHE_HINT);
  }
  throw new NaiadError('CACHE_INVALID', `${files.data}: another process keeps replacing it`, {
    hint: `Stop what writes to ${dirname(files.data)}, or use another cache directory.`,
  });
}

/** The id of this boot; empty where the system does not tell, and then no earlier map is trusted. */
export function currentBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  } catch {
    return '';
  }
}

type Pair =
  | { readonly state: 'found'; readonly data: FileHandle; readonly map: ChunkMapFile }
  | { readonly state: 'absent' | 'conflict' | 'unfinished' | 'busy' }
  | { readonly state: 'broken'; readonly reason: string };

/** A pair that its creator left unfinished is broken; one that is just being created or removed is waited for. */
async function openPairWhenFinished(
  files: BlobFiles,
  identity: MapIdentity,
  bootId: string,
): Promise<Exclude<Pair, { state: 'unfinished' | 'busy' }>> {
  const began = Date.now();
  let unfinishedSince: number | undefined;
  for (; ; await sleep(10)) {
    const pair = await openPair(files, identity, bootId);
    const now = Date.now();
    if (pair.state === 'unfinished') {
      unfinishedSince ??= now;
      if (now - unfinishedSince < CREATION_WAIT_MS) continue;
      return { state: 'broken', reason: 'left unfinished by its creator' };
    }
    if (pair.state !== 'busy') return pair as Exclude<Pair, { state: 'unfinished' | 'busy' }>;
    unfinishedSince = undefined;
    if (now - began >= BUSY_WAIT_MS) {
      throw new NaiadError('CACHE_LOCKED', `${files.map}: another process keeps it locked`, {
        hint: 'Several machines cannot share a cache directory; does another process hold the file (`fuser`)?',
      });
    }
  }
}

async function openPair(files: BlobFiles, identity: MapIdentity, bootId: string): Promise<Pair> {
  const found = ChunkMapFile.open(files.map, identity, bootId);
  const data = await openExisting(files.data).catch((error) => {
    if (found.state === 'found') found.map[Symbol.dispose]();
    throw error;
  });
  if (data && found.state === 'found') {
    const stat = await data.stat({ bigint: true });
    const reason = mismatch(stat, found.map);
    if (!reason) return { state: 'found', data, map: found.map };
    await data.close();
    found.map[Symbol.dispose]();
    return { state: 'broken', reason };
  }
  await data?.close();
  if (found.state === 'found') found.map[Symbol.dispose]();
  switch (found.state) {
    case 'conflict':
      return { state: 'conflict' };
    case 'invalid':
      return { state: 'broken', reason: found.reason };
    case 'found':
      return { state: 'broken', reason: 'its data file is gone' };
    case 'unfinished':
    case 'busy':
      return { state: found.state };
    case 'absent':
      return { state: data ? 'unfinished' : 'absent' };
  }
}

async function openExisting(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, constants.O_RDWR | constants.O_NOFOLLOW);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function mismatch(data: BigIntStats, map: ChunkMapFile): string | undefined {
  if (data.ino !== map.header.dataInode || data.birthtimeNs !== map.header.dataBirthNs) {
    return 'its data file is not the one the map was made for';
  }
  if (data.size !== BigInt(map.header.deviceSize)) return `its data file has ${data.size} bytes`;
  return undefined;
}

/** Creates both files, data first: whoever creates that owns the creation of the map. Losing to another is no error. */
async function createPair(files: BlobFiles, identity: MapIdentity, bootId: string): Promise<void> {
  try {
    await using data = await open(files.data, 'wx+', 0o600);
    await data.truncate(identity.deviceSize);
    const stat = await data.stat({ bigint: true });
    ChunkMapFile.create(files.map, identity, { dataInode: stat.ino, dataBirthNs: stat.birthtimeNs }, bootId);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

/** Processes that have the files open keep what they opened; nobody else finds them any more. */
async function retire(files: BlobFiles): Promise<void> {
  await rm(files.map, { force: true });
  await rm(files.data, { force: true });
}

/** Names the files of an image that contradicts others: only one that says exactly the same shares them from the start. */
function variantOf({ chunkCount, deviceSize, claims }: MapIdentity): string {
  return createHash('sha256').update(`${chunkCount} ${deviceSize}\n`).update(claims).digest('hex').slice(0, 32);
}
