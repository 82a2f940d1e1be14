// One cache object per device in a process, however many mounts read it: what one of them fetches is there for all, and a
// chunk that several want at once is fetched once. Devices are the same when all that images say of their chunks is.
import { createHash } from 'node:crypto';
import { type BlobReader, openStream, type StreamReader } from '../backend/blob-reader.ts';
import { openDevices } from '../backend/devices.ts';
import { FetchScheduler } from '../backend/fetch-scheduler.ts';
import { hasCode, NaiadError } from '../base/errors.ts';
import { TransientFailure } from '../base/transient.ts';
import { ChunkCache, type ChunkCacheOptions } from '../cache/chunk-cache.ts';
import type { Bootstrap } from '../image/bootstrap-reader.ts';
import type { Device } from '../image/device.ts';
import { blobCacheFiles } from '../store/paths.ts';
import type { CacheDirectory } from './cache-directory.ts';

export interface PooledOptions {
  readonly directory: CacheDirectory;
  readonly device: Device;
  /** Of the mount that asks: used until that mount lets go. */
  readonly reader: BlobReader;
  /** The registry it reads from; undefined where there is none. The first one to open a cache says what its fetches count for. */
  readonly host?: string | undefined;
}

/** A share of a cache. Disposing gives it back; the last one closes the cache. */
export interface PooledCache extends AsyncDisposable {
  readonly cache: ChunkCache;
}

interface Entry {
  readonly readers: Set<StreamReader>;
  readonly opened: Promise<ChunkCache>;
}

export class CachePool {
  readonly #schedulers = new Map<string | undefined, FetchScheduler>();
  readonly #entries = new Map<string, Entry>();
  readonly #devices = new WeakMap<Bootstrap, Promise<Device[]>>();
  readonly #keys = new WeakMap<Device, string>();

  /** Decides what is fetched next of a registry, over all images: what one line can hold says nothing of another. */
  scheduler(host: string | undefined): FetchScheduler {
    const scheduler = this.#schedulers.get(host) ?? new FetchScheduler();
    this.#schedulers.set(host, scheduler);
    return scheduler;
  }

  /** All of them, by registry; undefined is for what is on this machine. */
  get schedulers(): ReadonlyMap<string | undefined, FetchScheduler> {
    return this.#schedulers;
  }

  /** The devices of an image; the same objects for every mount of the same bootstrap. @throws what openDevices throws. */
  async devices(
    bootstrap: Bootstrap,
    readerOf: (blobId: string) => BlobReader,
    signal: AbortSignal | undefined,
  ): Promise<readonly Device[]> {
    const known = this.#devices.get(bootstrap);
    // Of several mounts at once, one reads the chunk tables; where it could not, or was given up, each tries for itself.
    if (known) return await known.catch(() => openDevices(bootstrap, readerOf, signal));
    const opening = openDevices(bootstrap, readerOf, signal);
    this.#devices.set(bootstrap, opening);
    opening.catch(() => this.#devices.delete(bootstrap));
    return await opening;
  }

  /** @throws what opening the cache throws. */
  async open({ directory, device, reader, host }: PooledOptions): Promise<PooledCache> {
    const content = this.#keys.get(device) ?? contentKey(device);
    this.#keys.set(device, content);
    const key = `${content} ${directory.path}`;
    const entry = this.#entries.get(key) ?? this.#newEntry(key, directory, device, host);
    const own = streaming(reader);
    entry.readers.add(own); // Before anything is awaited: an entry without readers is given up.
    try {
      return { cache: await entry.opened, [Symbol.asyncDispose]: () => this.#release(key, entry, own) };
    } catch (error) {
      entry.readers.delete(own);
      if (this.#entries.get(key) === entry) this.#entries.delete(key);
      throw error;
    }
  }

  /** Caches that are open. */
  get size(): number {
    return this.#entries.size;
  }

  #newEntry(key: string, { path, space }: CacheDirectory, device: Device, host: string | undefined): Entry {
    const readers = new Set<StreamReader>();
    const options: ChunkCacheOptions = {
      device,
      reader: anyOf(readers, device.blobId),
      filesOf: (blobId, variant) => blobCacheFiles(path, blobId, variant),
      space,
      scheduler: this.scheduler(host),
    };
    const entry = { readers, opened: ChunkCache.open(options) };
    this.#entries.set(key, entry);
    return entry;
  }

  async #release(key: string, entry: Entry, reader: StreamReader): Promise<void> {
    if (!entry.readers.delete(reader) || entry.readers.size > 0) return;
    this.#entries.delete(key);
    const cache = await entry.opened;
    await cache[Symbol.asyncDispose]();
  }
}

/** Reads through the oldest of `readers`, and through the next where that one is refused or was closed meanwhile. */
function anyOf(readers: ReadonlySet<StreamReader>, blobId: string): StreamReader {
  const firstOf = async <T>(read: (reader: StreamReader) => Promise<T>): Promise<T> => {
    let failure: unknown;
    for (const reader of [...readers]) {
      if (!readers.has(reader)) continue;
      try {
        return await read(reader);
      } catch (error) {
        failure ??= error;
        const open = readers.has(reader);
        if (open && !hasCode(error, 'BLOB_NOT_FOUND', 'ACCESS_DENIED', 'PERMISSION')) throw error;
      }
    }
    throw failure ?? new NaiadError('CANCELED', `the last mount of blob ${blobId} has ended`);
  };
  return {
    name: `shared(${blobId})`,
    readAt: (range, signal) => firstOf((reader) => reader.readAt(range, signal)),
    open: (range, signal) =>
      firstOf(async (reader) => {
        const stream = await reader.open(range, signal);
        return { ...stream, pieces: resumable(stream.pieces, () => readers.has(reader)) };
      }),
  };
}

/** What breaks off because a mount ended, another mount may still bring. */
async function* resumable(pieces: AsyncIterable<Uint8Array>, isOpen: () => boolean): AsyncGenerator<Uint8Array> {
  try {
    yield* pieces;
  } catch (error) {
    if (error instanceof NaiadError && !isOpen()) throw new TransientFailure(error);
    throw error;
  }
}

/** As streams: also of a source that gives ranges whole. */
function streaming(reader: BlobReader): StreamReader {
  return {
    name: reader.name,
    readAt: (range, signal) => reader.readAt(range, signal),
    open: (range, signal) => openStream(reader, range, signal),
  };
}

/** All that is said of the chunks of a device, as one name. */
function contentKey({ blobId, size, compressor, digester, chunks }: Device): string {
  const hash = createHash('sha256').update(JSON.stringify([blobId, size, compressor, digester]));
  for (const piece of chunks.content()) hash.update(piece);
  return hash.digest('hex');
}
