// The chunk map of one blob on disk, with its bits in memory. Other processes may hold the same file: bits they set are
// seen after `refresh`.
//
// Locks (flock, of the open file): shared while a map is in use, so that nobody removes it; exclusive, and never waited
// for, to remove it, to distrust it after a reboot and to take bits back.
import { closeSync, constants, fdatasyncSync, fstatSync, futimesSync, openSync, readSync, writeSync } from 'node:fs';
import { NaiadError } from '../base/errors.ts';
import { writeFullySync } from '../base/write-fully.ts';
import {
  bitmapOffset,
  bitmapSize,
  CHUNK_MAP_MAGIC,
  CHUNK_MAP_VERSION,
  type ChunkMapBitmap,
  type ChunkMapHeader,
  chunkMapHeader,
  claimsOffset,
} from '../format/cache/chunk-map.ts';
import { viewOf } from '../format/record.ts';
import { tryLock } from '../native/lock.ts';
import { type Claims, encodeBatch, mergeClaims, replayBatches } from './claims.ts';

/** What a map must say to be the one looked for. */
export interface MapIdentity {
  readonly blobId: string;
  readonly chunkCount: number;
  readonly deviceSize: number;
  readonly claims: Claims;
}

export type MapFound =
  | { readonly state: 'absent' }
  /** Its creator, or someone who adds claims, is perhaps still writing. */
  | { readonly state: 'unfinished' }
  | { readonly state: 'invalid'; readonly reason: string }
  /** Somebody removes it or brings it over a reboot at this moment. */
  | { readonly state: 'busy' }
  /** A sound map of the same blob, for images that say something else of its chunks. */
  | { readonly state: 'conflict' }
  | { readonly state: 'found'; readonly map: ChunkMapFile };

export class ChunkMapFile implements Disposable {
  readonly header: ChunkMapHeader;
  readonly #fd: number;
  readonly #ready: Uint8Array;
  readonly #suspect: Uint8Array;
  #anySuspect: boolean;

  private constructor(fd: number, header: ChunkMapHeader) {
    this.#fd = fd;
    this.header = header;
    this.#ready = this.#readBitmap('ready');
    this.#suspect = this.#readBitmap('suspect');
    this.#anySuspect = this.#suspect.some((byte) => byte !== 0);
  }

  /** Looks at the map at `path`, and adds what it did not know of the chunks. A found one is trusted for `bootId` when
   *  this returns, and the caller owns it. */
  static open(path: string, identity: MapIdentity, bootId: string): MapFound {
    let fd: number;
    try {
      fd = openSync(path, constants.O_RDWR | constants.O_NOFOLLOW);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { state: 'absent' };
      throw error;
    }
    let owned = false;
    try {
      const refused = lockForUse(fd);
      if (refused) return refused;
      const checked = checkHeader(fd, identity);
      if (!('header' in checked)) return checked;
      const agreed = agree(fd, path, identity);
      if (agreed !== 'agreed') return { state: agreed };
      const trusted = trustHeader(fd, checked.header, bootId);
      if (!('header' in trusted)) return trusted;
      const map = new ChunkMapFile(fd, trusted.header);
      map.touch();
      owned = true;
      return { state: 'found', map };
    } finally {
      if (!owned) closeSync(fd);
    }
  }

  /** Writes a map without chunks. @throws EEXIST when there is a file already. */
  static create(
    path: string,
    identity: MapIdentity,
    data: Pick<ChunkMapHeader, 'dataInode' | 'dataBirthNs'>,
    bootId: string,
  ): void {
    const { blobId, chunkCount, deviceSize, claims } = identity;
    const batch = encodeBatch(claims);
    const bytes = new Uint8Array(claimsOffset(chunkCount) + batch.length);
    const own = { magic: CHUNK_MAP_MAGIC, version: CHUNK_MAP_VERSION, blobId, chunkCount, deviceSize, bootId };
    chunkMapHeader.write(viewOf(bytes), 0, { ...own, ...data });
    bytes.set(batch, claimsOffset(chunkCount));
    const fd = openSync(path, 'wx', 0o600);
    try {
      writeFullySync(fd, bytes, 0);
    } finally {
      closeSync(fd);
    }
  }

  /** Open for reading and writing; closed by disposing. */
  get fd(): number {
    return this.#fd;
  }

  has(index: number): boolean {
    return hasBit(this.#ready, index);
  }

  /** Calls `visit` with each chunk that is there, ascending. */
  forEach(visit: (index: number) => void): void {
    for (let at = 0; at < this.#ready.length; at++) {
      // Bits behind the last chunk mean nothing.
      const end = Math.min(8, this.header.chunkCount - at * 8);
      for (let bits = this.#ready[at] as number, bit = 0; bits !== 0 && bit < end; bits >>>= 1, bit++) {
        if ((bits & 1) !== 0) visit(at * 8 + bit);
      }
    }
  }

  /** True when the chunk may be in the data file but must be verified before it counts. */
  isSuspect(index: number): boolean {
    return this.#anySuspect && hasBit(this.#suspect, index);
  }

  /** The caller promises: the chunk's bytes had their digest and are written. */
  add(index: number): void {
    const at = index >>> 3;
    const offset = bitmapOffset(this.header.chunkCount, 'ready') + at;
    const byte = new Uint8Array(1);
    readSync(this.#fd, byte, 0, 1, offset); // Bits that other processes set since.
    this.#ready[at] = (this.#ready[at] as number) | (byte[0] as number) | (1 << (index & 7));
    byte[0] = this.#ready[at] as number;
    writeFullySync(this.#fd, byte, offset);
  }

  /** Takes over bits in the bytes around `first`…`last` that other processes have set. */
  refresh(first: number, last: number): void {
    const from = first >>> 3;
    const bytes = new Uint8Array((last >>> 3) - from + 1);
    readFullySync(this.#fd, bytes, bitmapOffset(this.header.chunkCount, 'ready') + from);
    for (let i = 0; i < bytes.length; i++) {
      this.#ready[from + i] = (this.#ready[from + i] as number) | (bytes[i] as number);
    }
  }

  /** Records that every chunk ready now outlives a power failure. `sync` brings the data file to disk. */
  async makeDurable(sync: () => Promise<void>): Promise<void> {
    const durable = this.#readBitmap('durable');
    const ready = this.#ready.slice(); // Before the sync: chunks that come while it runs are not covered by it.
    if (ready.every((byte, i) => (byte & ~(durable[i] as number)) === 0)) return;
    try {
      await sync();
    } catch (error) {
      // What the disk refused may be gone from memory as well: nobody trusts these bits unseen any more.
      writeFullySync(this.#fd, chunkMapHeader.encode({ ...this.header, bootId: '' }), 0);
      throw error;
    }
    fdatasyncSync(this.#fd); // The claims that the bits speak of come first.
    for (let i = 0; i < durable.length; i++) durable[i] = (durable[i] as number) | (ready[i] as number);
    writeFullySync(this.#fd, durable, bitmapOffset(this.header.chunkCount, 'durable'));
    fdatasyncSync(this.#fd);
  }

  /** Records that the blob is being used, for those who look for the least recently used. */
  touch(): void {
    const now = new Date();
    futimesSync(this.#fd, now, now);
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }

  #readBitmap(bitmap: ChunkMapBitmap): Uint8Array {
    return bitmapIn(this.#fd, this.header, bitmap);
  }
}

/** Takes the lock of a user; the reason when there is nothing to use any more. */
function lockForUse(fd: number): Exclude<MapFound, { state: 'found' }> | undefined {
  if (tryLock(fd, 'shared') === 'busy') return { state: 'busy' };
  return fstatSync(fd).nlink === 0 ? { state: 'unfinished' } : undefined;
}

/** Brings a map of another boot into this one. Alone: while others use it, it is of this boot already. */
function trustHeader(
  fd: number,
  header: ChunkMapHeader,
  bootId: string,
): { header: ChunkMapHeader } | Exclude<MapFound, { state: 'found' }> {
  if (bootId === '') return { header: distrust(fd, header, bootId) };
  if (header.bootId === bootId) return { header };
  if (tryLock(fd, 'exclusive') === 'busy') return { state: 'busy' };
  const renewed = distrust(fd, header, bootId);
  return lockForUse(fd) ?? { header: renewed };
}

/** After another boot only durable chunks are certain; what else was ready is suspect. The header comes last, so that an
 *  interrupted change is made again. */
function distrust(fd: number, header: ChunkMapHeader, bootId: string): ChunkMapHeader {
  const ready = bitmapIn(fd, header, 'ready');
  const durable = bitmapIn(fd, header, 'durable');
  const suspect = bitmapIn(fd, header, 'suspect');
  for (let i = 0; i < ready.length; i++) {
    suspect[i] = (suspect[i] as number) | (ready[i] as number);
    ready[i] = durable[i] as number;
  }
  writeFullySync(fd, suspect, bitmapOffset(header.chunkCount, 'suspect'));
  writeFullySync(fd, ready, bitmapOffset(header.chunkCount, 'ready'));
  const renewed = { ...header, bootId };
  writeFullySync(fd, chunkMapHeader.encode(renewed), 0);
  return renewed;
}

/** The header, or why the map is not usable. */
function checkHeader(
  fd: number,
  identity: MapIdentity,
): { header: ChunkMapHeader } | Exclude<MapFound, { state: 'found' }> {
  const stat = fstatSync(fd);
  if (!stat.isFile()) return { state: 'invalid', reason: 'no regular file' };
  if (stat.size < chunkMapHeader.size) return { state: 'unfinished' };
  const bytes = new Uint8Array(chunkMapHeader.size);
  readFullySync(fd, bytes, 0);
  const header = chunkMapHeader.read(viewOf(bytes), 0);
  if (header.magic !== CHUNK_MAP_MAGIC) return { state: 'invalid', reason: 'no chunk map' };
  if (header.version !== CHUNK_MAP_VERSION) {
    return { state: 'invalid', reason: `version ${header.version}, expected ${CHUNK_MAP_VERSION}` };
  }
  if (header.blobId !== identity.blobId) return { state: 'invalid', reason: `of blob ${header.blobId}` };
  if (stat.size < claimsOffset(header.chunkCount)) return { state: 'unfinished' };
  if (header.chunkCount !== identity.chunkCount || header.deviceSize !== identity.deviceSize) {
    return { state: 'conflict' };
  }
  return { header };
}

/** Makes the map know the claims of `identity`, unless they contradict what it knows. */
function agree(fd: number, path: string, identity: MapIdentity): 'agreed' | 'conflict' | 'unfinished' {
  const known = replayBatches(claimsIn(fd, identity.chunkCount));
  if (!known) return 'unfinished';
  if (Buffer.compare(known, identity.claims) === 0) return 'agreed';
  const before = mergeClaims(known, identity.claims);
  if (!before) return 'conflict';
  if (before.news.length === 0) return 'agreed';
  const appending = openSync(path, constants.O_WRONLY | constants.O_APPEND | constants.O_NOFOLLOW);
  try {
    if (fstatSync(appending).ino !== fstatSync(fd).ino) return 'unfinished';
    const batch = encodeBatch(before.news);
    if (writeSync(appending, batch) < batch.length) {
      throw new NaiadError('NO_SPACE', `${path}: the file system is full`); // The torn batch makes the next one start anew.
    }
  } finally {
    closeSync(appending);
  }
  // Someone else may have appended first, and what they said then counts before what we said.
  const after = replayBatches(claimsIn(fd, identity.chunkCount));
  if (!after) return 'unfinished';
  return mergeClaims(after, identity.claims)?.news.length === 0 ? 'agreed' : 'conflict';
}

/** The batches of claims as they stand in the file. */
export function claimsIn(fd: number, chunkCount: number): Uint8Array {
  const offset = claimsOffset(chunkCount);
  const bytes = new Uint8Array(fstatSync(fd).size - offset);
  readFullySync(fd, bytes, offset);
  return bytes;
}

export function bitmapIn(fd: number, header: ChunkMapHeader, bitmap: ChunkMapBitmap): Uint8Array {
  const bytes = new Uint8Array(bitmapSize(header.chunkCount));
  readFullySync(fd, bytes, bitmapOffset(header.chunkCount, bitmap));
  return bytes;
}

export function hasBit(bits: Uint8Array, index: number): boolean {
  return ((bits[index >>> 3] as number) & (1 << (index & 7))) !== 0;
}

export function readFullySync(fd: number, bytes: Uint8Array, offset: number): void {
  let done = 0;
  while (done < bytes.length) {
    const count = readSync(fd, bytes, done, bytes.length - done, offset + done);
    if (count === 0) throw new NaiadError('CACHE_INVALID', 'a chunk map was cut short while it was in use');
    done += count;
  }
}
