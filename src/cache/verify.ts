// Reads back what a cache holds, and heals what is wrong in it.
//
// How a wrong chunk is healed, so that nobody ever reads what is wrong because of the healing:
//   1. Nobody has the blob open: its bits are taken back under the exclusive lock. It is fetched when it is needed.
//   2. Somebody has: the bit stays. The right bytes are fetched, verified and written over the wrong ones. A reader meets
//      the wrong bytes or the right ones, as before; never a hole, and never a bit that is taken from under it.
import { type FileHandle, open } from 'node:fs/promises';
import { throwIfAborted } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { systemError } from '../base/system-error.ts';
import { digestOf } from '../codec/codec.ts';
import { claim } from '../format/cache/chunk-map.ts';
import { DIGESTERS, type DigesterName } from '../format/rafs/algorithms.ts';
import { viewOf } from '../format/record.ts';
import type { CachePaths } from './cache-dir.ts';
import { type CacheItem, listItems } from './inventory.ts';
import { MapInspection } from './map-inspection.ts';

export interface VerifyOptions {
  /** Blob ids; all when undefined. */
  readonly blobs?: ReadonlySet<string> | undefined;
  readonly repair?: boolean;
  /** Writes the right bytes of chunks of a blob that is in use; returns those it could bring. */
  readonly refetch?: (item: CacheItem, chunks: readonly number[]) => Promise<readonly number[]>;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (state: { readonly done: number; readonly total: number; readonly text: string }) => void;
}

export interface VerifiedBlob {
  readonly name: string;
  /** Chunks that were read back, and their bytes. */
  readonly chunks: number;
  readonly bytes: number;
  readonly bad: readonly number[];
  /** Of the bad ones: those that will be fetched when they are needed, those that are right again. */
  readonly forgotten: readonly number[];
  readonly refetched: readonly number[];
  /** Why the blob could not be read at all. It is started anew when it is next opened. */
  readonly problem?: string;
}

/** Verifies every chunk that counts as present. @throws NaiadError CANCELED, PERMISSION, IO */
export async function verifyCache(paths: CachePaths, options: VerifyOptions = {}): Promise<VerifiedBlob[]> {
  const items = (await listItems(paths)).filter(
    ({ kind, id }) => kind === 'blob' && (options.blobs === undefined || options.blobs.has(id)),
  );
  const total = items.reduce((sum, { bytes }) => sum + bytes, 0);
  const verified: VerifiedBlob[] = [];
  let before = 0;
  for (const item of items) {
    const onBytes = (bytes: number) =>
      options.onProgress?.({
        done: Math.min(before + bytes, before + item.bytes),
        total,
        text: item.name.slice(0, 12),
      });
    verified.push(await verifyBlob(item, options, onBytes));
    before += item.bytes;
    onBytes(0);
  }
  return verified;
}

async function verifyBlob(
  item: CacheItem,
  options: VerifyOptions,
  onBytes: (bytes: number) => void,
): Promise<VerifiedBlob> {
  const nothing = { name: item.name, chunks: 0, bytes: 0, bad: [], forgotten: [], refetched: [] };
  const [mapPath, dataPath] = item.paths as [string, string];
  const opened = MapInspection.open(mapPath);
  if (!(opened instanceof MapInspection)) return { ...nothing, problem: opened.problem };
  using map = opened;
  let data: FileHandle;
  try {
    data = await open(dataPath, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { ...nothing, problem: 'its data file is missing' };
    throw systemError(error, dataPath);
  }
  try {
    const { ino, birthtimeNs } = await data.stat({ bigint: true });
    if (ino !== map.header.dataInode || birthtimeNs !== map.header.dataBirthNs) {
      return { ...nothing, problem: 'its data file is not the one the map was made for' };
    }
    const read = await readBack(map, data, options.signal, onBytes);
    if (!read) return { ...nothing, problem: 'its claims are torn' };
    return { ...nothing, ...read, ...(options.repair ? await heal(item, map, read.bad, options) : {}) };
  } catch (error) {
    throw systemError(error, dataPath);
  } finally {
    await data.close();
  }
}

/** Undefined when the map does not say what the chunks must be. */
async function readBack(
  map: MapInspection,
  data: FileHandle,
  signal: AbortSignal | undefined,
  onBytes: (bytes: number) => void,
): Promise<Pick<VerifiedBlob, 'chunks' | 'bytes' | 'bad'> | undefined> {
  const claims = map.claims();
  if (!claims) return undefined;
  const view = viewOf(claims);
  const bad: number[] = [];
  const claimed = new Set<number>();
  let bytes = 0;
  let chunks = 0;
  for (let at = 0; at < claims.length; at += claim.size) {
    const { chunkIndex, uncompressedOffset, uncompressedSize, digester, digest } = claim.read(view, at);
    claimed.add(chunkIndex);
    if (!map.isReady(chunkIndex)) continue;
    throwIfAborted(signal);
    const algorithm = (Object.keys(DIGESTERS) as DigesterName[]).find((name) => DIGESTERS[name].id === digester);
    const chunk = Buffer.alloc(uncompressedSize);
    const isWhole = await readWhole(data, chunk, uncompressedOffset);
    if (!algorithm || !isWhole || !digestOf(algorithm, chunk).every((byte, i) => byte === digest[i])) {
      bad.push(chunkIndex);
    }
    chunks++;
    bytes += uncompressedSize;
    onBytes(bytes);
  }
  // A bit that nobody can have set: nothing says what the chunk must be.
  for (let index = 0; index < map.header.chunkCount; index++) {
    if (map.isReady(index) && !claimed.has(index)) bad.push(index);
  }
  return { chunks, bytes, bad };
}

/** False when the file ends before, or cannot be read there. */
async function readWhole(data: FileHandle, chunk: Buffer, position: number): Promise<boolean> {
  for (let done = 0; done < chunk.length; ) {
    try {
      const { bytesRead } = await data.read(chunk, done, chunk.length - done, position + done);
      if (bytesRead === 0) return false;
      done += bytesRead;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EIO') return false;
      throw error;
    }
  }
  return true;
}

async function heal(
  item: CacheItem,
  map: MapInspection,
  bad: readonly number[],
  { refetch }: VerifyOptions,
): Promise<Pick<VerifiedBlob, 'forgotten' | 'refetched'>> {
  if (bad.length === 0) return { forgotten: [], refetched: [] };
  if (map.forget(bad)) return { forgotten: bad, refetched: [] };
  return { forgotten: [], refetched: (await refetch?.(item, bad)) ?? [] };
}

/** Chunks that are wrong still. */
export function unhealed({ bad, forgotten, refetched }: VerifiedBlob): number[] {
  const healed = new Set([...forgotten, ...refetched]);
  return bad.filter((index) => !healed.has(index));
}

/** The failure of a verification that found what it could not heal; undefined when all is well. */
export function verifyFailure(verified: readonly VerifiedBlob[], repair: boolean): NaiadError | undefined {
  const chunks = verified.reduce((sum, blob) => sum + unhealed(blob).length, 0);
  if (chunks === 0) return undefined;
  const hint = repair
    ? 'They are of blobs that are in use, and could not be fetched: see that the registry can be reached, or unmount.'
    : 'naiad cache verify --repair';
  return new NaiadError('CACHE_INVALID', `${chunks} cached chunks do not have their digest`, { hint });
}
