// `diff`: what one converted image has and another has not, by the metadata of both; contents by the digests of their chunks.
import type { BlobReader } from '../backend/blob-reader.ts';
import { openDevices } from '../backend/devices.ts';
import { planFetches } from '../backend/fetch-plan.ts';
import { type ByteString, compareBytes } from '../base/bytes.ts';
import type { Bootstrap, ChunkAddress, InodeView } from '../image/bootstrap-reader.ts';
import type { Device } from '../image/device.ts';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../image/tree.ts';
import { displayPath, type WalkedName, walk } from '../image/walk.ts';

/** What of a name differs. A name of another type has just that; times are those of the last change of the content. */
export type Difference = 'type' | 'mode' | 'owner' | 'time' | 'links' | 'xattrs' | 'target' | 'device' | 'content';

export interface NameDiff {
  /** From the root, bytes that are not UTF-8 as `\xNN`. */
  readonly path: string;
  /** `first`, `second`: in that image alone. */
  readonly kind: 'first' | 'second' | 'changed';
  /** Of a name that changed. */
  readonly differs?: readonly Difference[];
  /** Bytes of a regular file, in the second image where it is there. */
  readonly size?: number;
}

/** Stored bytes of the chunks of the second image. */
export interface StoredDiff {
  readonly total: number;
  /** In blobs that the first image has too: on a node that holds the first, these are in the cache. */
  readonly inSharedBlobs: number;
  /** In other blobs, though a chunk of the same content is in the first. */
  readonly sameContent: number;
}

export interface ImageDiff {
  /** Names that are the same in both. */
  readonly same: number;
  /** By path. */
  readonly names: readonly NameDiff[];
  /** False when the chunks of the two cannot be compared: files of one size then differ in content if they differ in time. */
  readonly byDigest: boolean;
  readonly stored: StoredDiff;
}

export interface DiffedImage {
  readonly bootstrap: Bootstrap;
  blobReader(blobId: string): BlobReader;
}

interface Side {
  readonly bootstrap: Bootstrap;
  readonly devices: readonly Device[];
}

export interface DiffOptions {
  /** Leave out what differs in times alone. */
  readonly ignoreTimes?: boolean;
  readonly signal?: AbortSignal;
}

/** @throws NaiadError BOOTSTRAP_INVALID, or as fetching the chunk tables does where a bootstrap has none. */
export async function diffImages(
  first: DiffedImage,
  second: DiffedImage,
  options: DiffOptions = {},
): Promise<ImageDiff> {
  const sides = [await sideOf(first, options.signal), await sideOf(second, options.signal)] as const;
  const byDigest = chunking(sides[0]) === chunking(sides[1]);
  const names: NameDiff[] = [];
  let same = 0;
  for (const [a, b] of joined(walk(first.bootstrap), walk(second.bootstrap))) {
    if (!a || !b) {
      const { path, inode } = (a ?? b) as WalkedName;
      names.push({ path: displayPath(path), kind: a ? 'first' : 'second', ...sizeOf(inode) });
      continue;
    }
    const differs = differences(sides, a.inode, b.inode, byDigest).filter(
      (what) => what !== 'time' || !options.ignoreTimes,
    );
    if (differs.length === 0) same++;
    else names.push({ path: displayPath(b.path), kind: 'changed', differs, ...sizeOf(b.inode) });
  }
  return { same, names, byDigest, stored: storedDiff(...sides) };
}

async function sideOf(image: DiffedImage, signal: AbortSignal | undefined): Promise<Side> {
  const { bootstrap } = image;
  return { bootstrap, devices: await openDevices(bootstrap, (blobId) => image.blobReader(blobId), signal) };
}

/** What must be the same for equal contents to have equal digests. */
function chunking({ bootstrap, devices }: Side): string {
  return [bootstrap.chunkSize, ...new Set(devices.map(({ digester }) => digester))].join(' ');
}

/** Both walks at once: a name that is in both as a pair. Both go by directory, and by name inside one. */
function* joined(
  first: Iterable<WalkedName>,
  second: Iterable<WalkedName>,
): Iterable<[WalkedName | undefined, WalkedName | undefined]> {
  const [inFirst, inSecond] = [first[Symbol.iterator](), second[Symbol.iterator]()];
  let [a, b] = [inFirst.next(), inSecond.next()];
  while (!a.done || !b.done) {
    const order = a.done ? 1 : b.done ? -1 : comparePaths(a.value.path, b.value.path);
    yield [order <= 0 ? a.value : undefined, order >= 0 ? b.value : undefined];
    if (order <= 0) a = inFirst.next();
    if (order >= 0) b = inSecond.next();
  }
}

function comparePaths(a: readonly ByteString[], b: readonly ByteString[]): number {
  for (const [index, name] of a.entries()) {
    const other = b[index];
    if (other === undefined) return 1;
    const order = compareBytes(name, other);
    if (order !== 0) return order;
  }
  return a.length - b.length;
}

function sizeOf({ mode, size }: InodeView): { size?: number } {
  return (mode & S_IFMT) === S_IFREG ? { size } : {};
}

function differences(sides: readonly [Side, Side], a: InodeView, b: InodeView, byDigest: boolean): Difference[] {
  const type = a.mode & S_IFMT;
  if (type !== (b.mode & S_IFMT)) return ['type'];
  const [first, second] = [sides[0].bootstrap, sides[1].bootstrap];
  const sameTime = a.mtimeSec === b.mtimeSec && a.mtimeNsec === b.mtimeNsec;
  const sameContent = () => a.size === b.size && (byDigest ? sameChunks(sides, a, b) : sameTime);
  const found: Record<Difference, boolean> = {
    type: false,
    mode: a.mode !== b.mode,
    owner: a.uid !== b.uid || a.gid !== b.gid,
    time: !sameTime,
    links: type !== S_IFDIR && a.nlink !== b.nlink, // A directory's are its subdirectories, which are shown themselves.
    xattrs: xattrsOf(first, a) !== xattrsOf(second, b),
    target: type === S_IFLNK && first.readlink(a.nid) !== second.readlink(b.nid),
    device: a.rdev !== b.rdev,
    content: type === S_IFREG && !sameContent(),
  };
  return (Object.keys(found) as Difference[]).filter((what) => found[what]);
}

function sameChunks([first, second]: readonly [Side, Side], a: InodeView, b: InodeView): boolean {
  const others = second.bootstrap.chunkAddresses(b.nid);
  return first.bootstrap.chunkAddresses(a.nid).every((address, index) => {
    const other = others[index];
    return other !== undefined && digestAt(first, address) === digestAt(second, other);
  });
}

function digestAt({ devices }: Side, { blobIndex, chunkIndex }: ChunkAddress): string {
  return digestOf(devices[blobIndex] as Device, chunkIndex);
}

function digestOf({ chunks, digester }: Device, index: number): string {
  return `${digester}:${Buffer.from(chunks.digest(index)).toString('latin1')}`;
}

function xattrsOf(bootstrap: Bootstrap, { nid }: InodeView): string {
  const texts = bootstrap.xattrs(nid).map(({ name, value }) => `${name}=${Buffer.from(value).toString('hex')}`);
  return texts.sort().join('\n');
}

function storedDiff(first: Side, second: Side): StoredDiff {
  const sharedBlobs = new Set(first.devices.map(({ blobId }) => blobId));
  const contents = new Set(first.devices.flatMap((device) => presentChunks(device).map((at) => digestOf(device, at))));
  const stored = { total: 0, inSharedBlobs: 0, sameContent: 0 };
  for (const device of second.devices) {
    const isShared = sharedBlobs.has(device.blobId);
    for (const { units } of planFetches(device.chunks, presentChunks(device))) {
      for (const { compressedSize, chunks } of units) {
        stored.total += compressedSize;
        if (isShared) stored.inSharedBlobs += compressedSize;
        else if (chunks.every((index) => contents.has(digestOf(device, index)))) stored.sameContent += compressedSize;
      }
    }
  }
  return stored;
}

function presentChunks({ chunks }: Device): number[] {
  return [...Array(chunks.count).keys()].filter((index) => chunks.present(index));
}
