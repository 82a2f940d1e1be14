// What a mount has recorded, as a trace: chunks by their digests, inodes by their paths.
import { setImmediate as turn } from 'node:timers/promises';
import type { ByteString } from '../base/bytes.ts';
import type { Touch, Trace } from '../format/trace/trace.ts';
import type { Bootstrap, InodeView } from '../image/bootstrap-reader.ts';
import type { Device } from '../image/device.ts';
import { S_IFMT, S_IFREG } from '../image/tree.ts';
import { walk } from '../image/walk.ts';
import { type FirstTouch, monotonicMs, type RecordedTouches } from './first-touches.ts';

export interface RecordedImage {
  readonly bootstrap: Bootstrap;
  readonly devices: readonly Device[];
  readonly manifestDigest: string | undefined;
  readonly name: string;
}

/** Names looked at between two turns of the event loop, which readers of other mounts wait for. */
const NAMES_PER_TURN = 1000;

/** The trace so far; times count from `sinceMs` of the monotonic clock. */
export async function recordedTrace(
  image: RecordedImage,
  { touches: firsts, cut }: RecordedTouches,
  sinceMs: number,
): Promise<Trace> {
  const { bootstrap, devices, manifestDigest, name } = image;
  const recorded = [...firsts]; // More come meanwhile.
  const places = await filesOf(bootstrap, recorded);
  const touches: Touch[] = [];
  for (const touch of recorded) {
    const { chunks, digester } = devices[touch.device] as Device;
    const index = chunks.indexAt(touch.deviceOffset);
    // An address that is no chunk's is a hostile image's; there is nothing to fetch for it.
    if (index === undefined || !chunks.present(index)) continue;
    const { path, offset } = places(touch);
    touches.push({
      ...{ path, offset, size: chunks.uncompressedSize(index) },
      chunk: `${digester}:${Buffer.from(chunks.digest(index)).toString('hex')}`,
      atMs: Math.max(0, touch.atMs - sinceMs),
      waitMs: touch.waitMs ?? monotonicMs() - touch.atMs,
      runs: 1,
    });
  }
  return { image: manifestDigest, reference: name, runs: 1, ...(cut && { cut }), touches };
}

interface FilePlace {
  readonly path: ByteString;
  /** Where the chunk begins in the file. */
  readonly offset: number;
}

const UNKNOWN: FilePlace = { path: '', offset: 0 };
/** Larger than any device. */
const DEVICE_STRIDE = 2 ** 44;

/** Where the touched chunks are in files. The tree is walked no further than to the last of them. */
async function filesOf(
  bootstrap: Bootstrap,
  touches: readonly FirstTouch[],
): Promise<(touch: FirstTouch) => FilePlace> {
  const paths = new Map<number, ByteString>();
  const nids = new Set<number>();
  const byPlace = new Map<number, FilePlace>();
  const places = new Set<number>();
  const placeOf = (device: number, deviceOffset: number) => device * DEVICE_STRIDE + deviceOffset;
  for (const { nid, device, deviceOffset } of touches) {
    if (nid === undefined) places.add(placeOf(device, deviceOffset));
    else nids.add(nid);
  }
  const look = (path: ByteString, inode: InodeView) => {
    if (nids.delete(inode.nid)) paths.set(inode.nid, path);
    if (places.size === 0) return;
    for (const [index, { blobIndex, deviceOffset }] of bootstrap.chunkAddresses(inode.nid).entries()) {
      const place = placeOf(blobIndex, deviceOffset);
      if (places.delete(place)) byPlace.set(place, { path, offset: index * bootstrap.chunkSize });
    }
  };
  let names = 0;
  for (const { path, inode } of nids.size + places.size > 0 ? walk(bootstrap) : []) {
    if ((inode.mode & S_IFMT) === S_IFREG) look(`/${path.join('/')}`, inode);
    if (nids.size + places.size === 0) break;
    if (++names % NAMES_PER_TURN === 0) await turn();
  }
  return ({ nid, fileOffset = 0, device, deviceOffset }) => {
    if (nid === undefined) return byPlace.get(placeOf(device, deviceOffset)) ?? UNKNOWN;
    const path = paths.get(nid);
    return path === undefined ? UNKNOWN : { path, offset: fileOffset };
  };
}
